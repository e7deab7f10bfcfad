"""Every option of every group composes; every mistake names the cause, the nearest right name and what is allowed."""

from __future__ import annotations

import re
from dataclasses import Field, fields
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from mi_runner.config import composition, hydra_composition
from mi_runner.config.experiments.ablation import AblationConfig
from mi_runner.config.help_page import EXAMPLES, WIDTH, help_page, whole_page
from mi_runner.config.models.mlp import MlpConfig
from mi_runner.config.models.skip import SkipConfig
from mi_runner.config.options import check_ranges
from mi_runner.config.registry import ENGINES, SCHEMAS, origin_of
from mi_runner.config.run_schema import SWEEP_KEYS, OnError, Over, RunConfig
from mi_runner.config.training_schema import TrainingConfig
from mi_runner.errors import ConfigError
from mi_runner.machine import threads
from mi_runner.methods.discovery.records import all_methods
from tests.commands import required
from tests.conftest import REPOSITORY

CHOICES = [(group, schema) for group, schemas in SCHEMAS.items() for schema in schemas]


def names_of(group: str) -> str:
    """The names of a group's choices, as an error lists them."""
    return ", ".join(sorted(schema.name for schema in SCHEMAS[group]))


@cache
def the_whole_page() -> str:
    return whole_page([])


def test_the_default_trains_the_default_model() -> None:
    config = composition.compose()
    assert (config.experiment.name, config.dataset.name, config.model.name) == ("train", "mnist", "mlp")
    assert (config.seed, config.device, config.threads, config.checkpoint) == (0, "auto", threads.automatic(), None)
    assert (config.output_dir, config.expect, config.seeds) == ("outputs", None, None)
    assert [getattr(config, key) for key in SWEEP_KEYS] == [
        OnError["continue"],
        None,
        True,
        False,
        False,
        None,
        None,
        Over.seed,
    ]


@pytest.mark.parametrize(("group", "schema"), CHOICES, ids=lambda part: getattr(part, "name", part))
def test_every_choice_composes_to_its_schema_and_has_its_module(group: str, schema: type) -> None:
    config = composition.compose([f"{group}={schema.name}", *required(group, schema)])
    assert type(getattr(config, group)) is schema
    module = import_module(schema.module)
    wanted = {"experiment": ["check", "run"], "dataset": ["load"], "model": ["build"]}[group]
    assert all(callable(getattr(module, name)) for name in wanted)


@pytest.mark.parametrize(("group", "engines"), ENGINES.items())
def test_launchers_and_sweepers_compose_to_their_schemas(group: str, engines: tuple[type, ...]) -> None:
    files = {file.stem for file in (REPOSITORY / "conf/hydra" / group).glob("*.yaml")}
    assert files == {engine.name for engine in engines}
    page = the_whole_page()
    for engine in engines:
        config = composition.compose_untyped([f"hydra/{group}={engine.name}"], with_hydra=True)
        assert OmegaConf.to_object(config.hydra[group]) == engine()
        check_ranges(engine())
        for item in fields(engine):
            assert f"hydra.{group}.{item.name}=" in page and item.metadata["doc"] in " ".join(page.split())
        with pytest.raises(ConfigError, match=f"hydra.{group}.n_job=3: no key is named .* Allowed here: hydra.{group}"):
            composition.compose_untyped([f"hydra/{group}={engine.name}", f"hydra.{group}.n_job=3"])


@pytest.mark.parametrize("group", SCHEMAS)
def test_files_and_schemas_of_a_group_are_the_same(group: str) -> None:
    files = {file.stem for file in (REPOSITORY / "conf" / group).glob("*.yaml")}
    assert files == {schema.name for schema in SCHEMAS[group] if not origin_of(schema)}


@pytest.mark.parametrize(("group", "schema"), CHOICES, ids=lambda part: getattr(part, "name", part))
def test_every_option_has_a_meaning_and_stands_in_the_help(group: str, schema: type) -> None:
    page = the_whole_page()
    assert f" {schema.name} " in page
    for item in fields(schema):
        assert f"{group}.{item.name}=" in page and item.metadata["doc"] in " ".join(page.split())


def test_help_shows_the_top_level_keys_and_the_defaults_of_the_command() -> None:
    page = the_whole_page()
    for item in fields(RunConfig):
        assert item.name in page
    assert "training.epochs=3 " in page
    assert "training.epochs=5 " in whole_page(["experiment=ablation"])
    assert all(command in page for command, _ in EXAMPLES) and len(EXAMPLES) >= 3


def test_help_is_a_screen_and_names_where_more_is() -> None:
    page = help_page([])
    lines = page.splitlines()
    assert len(lines) <= 39 + sum(map(len, SCHEMAS.values())) and max(map(len, lines)) <= WIDTH
    for group, choices in SCHEMAS.items():
        assert group in page and all(f" {schema.name} " in page for schema in choices)
    assert "--help all" in page and "experiment=iit --help" in page and "training.epochs=3" not in page
    assert "mi-run ls" in page and "mi-run diff" in page and "--completion" in page


def test_help_of_a_command_shows_its_own_options_alone() -> None:
    page = help_page(["experiment=iit", "training.epochs=9"])
    assert "experiment.train=both" in page and "dataset.threshold=" in page and "training.epochs=9 " in page
    assert "With dataset=ellipses" in page and "With model=cnn" in page and "With model=mlp" not in page
    assert "experiment.targets" not in page and "dataset.digits" not in page and "on_error" not in page
    sweep = help_page(["hydra/launcher=joblib"], is_sweep=True)
    assert "on_error=continue" in sweep and "hydra.launcher.n_jobs=" in sweep and "partition" not in sweep
    assert "hydra/launcher=basic" in help_page([], is_sweep=True)


def test_help_of_discovery_says_what_each_method_does() -> None:
    page = help_page(["experiment=discovery"])
    (listed,) = re.findall(r"^  experiment.methods=(.*?)^  experiment.ablation=", page, re.MULTILINE | re.DOTALL)
    words = " ".join(listed.split())
    assert words.startswith("[random,magnitude,activation,edge_patching,eap,eap_ig,acdc,greedy,edge_pruning] methods ")
    for method in all_methods():
        assert f" {method.name}: {method.sentence}" in words


def test_lines_of_options_fit_eighty_columns() -> None:
    for page in (whole_page([]), help_page(["experiment=circuits"])):
        long = [line for line in page.splitlines() if len(line) > WIDTH]
        assert all(re.fullmatch(r"  \S+", line) for line in long), long  # a value that can't be broken


@pytest.mark.parametrize("experiment", [schema.name for schema in SCHEMAS["experiment"]])
def test_help_shows_all_that_an_experiment_sets(experiment: str) -> None:
    """Typing all of it without the experiment gives the same config."""
    (section,) = re.findall(r"^Groups$(.*?)^Options", the_whole_page(), re.MULTILINE | re.DOTALL)
    sets = dict(re.findall(r"\b(\w+) +[A-Z](?:[^\n]|\n {17}(?!sets ))*\n +sets ((?:[\w.]+=\S+\s+)+)", section))
    words = sets.get(experiment, "").split()
    chosen, typed = (
        composition.flattened(composition.compose(overrides)) for overrides in ([f"experiment={experiment}"], words)
    )
    of_experiment = [key for key in {**chosen, **typed} if key.startswith("experiment")]
    for key in of_experiment:
        chosen.pop(key, None), typed.pop(key, None)
    assert chosen == typed
    assert ("seed=42" in words) == (chosen["seed"] == 42) == (typed["seed"] == 42)
    assert words or experiment == "train"


def test_help_composes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A composition takes 0.07 s; with one for each experiment the page would take twice as long."""
    monkeypatch.setattr(hydra_composition, "_of_process", {})
    compose = Mock(wraps=hydra_composition.compose)
    monkeypatch.setattr(hydra_composition, "compose", compose)
    whole_page([])
    compose.assert_called_once()


def test_an_experiment_chooses_its_model_and_the_command_line_wins() -> None:
    assert isinstance(composition.compose(["experiment=ablation"]).model, SkipConfig)
    config = composition.compose(["experiment=ablation", "model=mlp", "training.epochs=1", "model.hidden_sizes=[7]"])
    assert isinstance(config.experiment, AblationConfig) and isinstance(config.model, MlpConfig)
    assert (config.training.epochs, config.model.hidden_sizes) == (1, [7])


@pytest.mark.parametrize(("group", "schema"), CHOICES, ids=lambda part: getattr(part, "name", part))
def test_the_contents_of_a_config_are_those_that_omegaconf_gives(group: str, schema: type) -> None:
    overrides = [*required(group, schema), "expect={accuracy: ['>=0', '<1']}"]
    config = composition.compose([f"{group}={schema.name}", *overrides])
    config.training.learning_rate, config.checkpoint, config.output_dir = 1, Path("a/b"), Path("c")  # as a program may
    whole = OmegaConf.structured(config)
    found = composition.contents(config)
    assert repr(found) == repr(OmegaConf.to_container(whole, enum_to_str=True))
    assert OmegaConf.to_yaml(OmegaConf.create(found)) == OmegaConf.to_yaml(whole)


def test_mappings_take_new_keys() -> None:
    assert composition.compose(["expect={accuracy: '>=0.9'}"]).expect == {"accuracy": ">=0.9"}
    config = composition.compose(["model=external", "model.factory=a:b", "model.arguments={width: 3}"])
    assert config.model.arguments == {"width": 3}


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (
            "experiment=abltion",
            "no experiment is named 'abltion'. Did you mean ablation\\? Allowed: " + names_of("experiment"),
        ),
        ("dataset=mnsit", "no dataset is named 'mnsit'. Did you mean mnist"),
        (
            "model=resnet",
            "no model is named 'resnet'. Allowed: " + names_of("model"),
        ),
        (
            "training.epoch=3",
            "no key is named 'training.epoch'. Did you mean training.epochs\\? Allowed here: training",
        ),
        ("epochs=3", "no key is named 'epochs'. Did you mean training.epochs"),
        ("sede=3", "no key is named 'sede'. Did you mean seed\\?.*device"),
        ("+sede=3", "no key is named 'sede'. Did you mean seed"),
        ("+training.foo=1", "no key is named 'foo'. Allowed: epochs"),
        ("experiment.targets=[relu]", "experiment=ablation has it"),
        ("dataset.path=x", "dataset=arrays or dataset=table has it"),
        ("training.epochs=abc", "training.epochs=abc: must be a whole number.*passes over the training set"),
        ("training.epochs=1.5", "training.epochs=1.5: must be a whole number"),
        ("model.activation=rleu", r"'rleu', expected one of \[relu, leaky_relu, tanh, sigmoid\]"),
        ("model.hidden_sizes=[3,x]", "must be a list of whole numbers"),
        ("training.epochs=-1", "training.epochs=-1: must be at least 0"),
        ("training.learning_rate=0", "must be above 0"),
        ("training.learning_rate=nan", "must be a finite number"),
        ("training.label_smoothing=1", "must be below 1"),
        ("model.hidden_sizes=[8,0]", r"model.hidden_sizes=\[8, 0\]: must be at least 1"),
        ("dataset.digits=[3,10]", "must be at most 9"),
        ("dataset.limit=1", "must be at least 2"),
        ("seed=-1", "seed=-1: must be at least 0"),
        ("seed=", "seed=: must be a whole number"),
        ("device=gpu", "device=gpu: must be auto, cpu, cuda or cuda:N"),
        ("threads=0", "threads=0: must be at least 1"),
        ("threads=all", "threads=all: must be a number of CPU threads, or auto."),
        ("dataset=arrays", "dataset.path has no value: type dataset.path=..."),
        ("model.activation=[", "can't read 'model.activation=\\['"),
        ("~seed", "seed"),
        ("on_error=go", r"expected one of \[continue, stop\]; on_error is: after a failed job"),
        ("hydra/launcher=jobib", "no hydra/launcher is named 'jobib'. Did you mean joblib"),
    ],
)
def test_mistakes(overrides: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        composition.compose([overrides])
    assert "\n" not in str(caught.value)


def test_a_mistake_beside_a_right_override_is_the_one_that_is_named() -> None:
    with pytest.raises(ConfigError, match="experiment.repeats=x"):
        composition.compose(["experiment=ablation", "seed=3", "experiment.repeats=x"])
    with pytest.raises(ConfigError, match="'experiment.target'. Did you mean experiment.targets"):
        composition.compose(["experiment=ablation", "experiment.target=[relu]"])


def test_ranges_hold_for_every_default() -> None:
    for _, schema in CHOICES:
        check_ranges(schema())


def test_every_key_of_the_top_config_has_a_comment() -> None:
    text = (REPOSITORY / "conf" / "config.yaml").read_text()
    for key in ("seed", "seeds", "device", "threads", "checkpoint", "output_dir", "expect", "run", *SWEEP_KEYS):
        (line,) = [line for line in text.splitlines() if line.startswith(f"{key}:")]
        assert "#" in line


def test_the_config_is_plain_data() -> None:
    """No value of a composed config names code to run, but for model.factory."""
    for path in Path(REPOSITORY / "conf").rglob("*.yaml"):
        assert "_target_" not in path.read_text()
    assert "_target_" not in OmegaConf.to_yaml(composition.compose_untyped(["experiment=ablation"]))


@pytest.mark.parametrize("with_hydra", [False, True])
@pytest.mark.parametrize(
    "changed",
    [
        "seed=7",
        "training.learning_rate=1e-3",
        "training={epochs:2}",
        "model=mlp model.hidden_sizes=[]",
        "model.hidden_sizes=[]",
        "dataset.limit=null",
        "experiment.targets=[relu,x/add]",
        "model=cnn",
        "training.loss=auto",
        "output_dir=a${seed}",
        "hydra/launcher=joblib hydra.launcher.n_jobs=3",
        "seed=1 experiment=train seed=2",
        "~expect",
        "~training",
        "+more=1",
        "++seed=3",
        "hydra.job.name=x",
        "training@more=default",
        "expect={b:'<1'}",
        "training=default",
        "training={epochs:2} training.epochs=3",
        "training.epochs=3 training={epochs:2}",
        "++training.epochs=2 training.epochs=4",
    ],
)
def test_values_set_in_a_copy_give_what_hydra_gives(changed: str, with_hydra: bool) -> None:
    """Two routes to one config: Hydra composes it as a whole; or the groups alone, and the values are set."""
    command = ["experiment=ablation", "dataset=mod_add", "training.epochs=1", "expect={accuracy: '>=0'}"]
    both = []
    for composed in (hydra_composition.composed, hydra_composition.composed_by_hydra):
        try:
            config = composed([*command, *changed.split(" ")], with_hydra=with_hydra)
        except hydra_composition.COMPOSITION_ERRORS as error:
            both.append((type(error), str(error).partition("\n")[0]))
        else:
            typed = OmegaConf.get_type(config), [OmegaConf.get_type(config, key) for key in config]
            both.append((typed, re.sub(r"\$\{now:.*?\}", "", OmegaConf.to_yaml(config))))
    assert both[0] == both[1]


@pytest.mark.parametrize(
    ("override", "text"),
    [("training.epochs=x", "training.epochs=x: must be a whole number"), ("training.epochs=-1", "must be at least 0"),
     ("training.epoch=1", "Did you mean training.epochs"), ("expect.foo=1", "expect")],
)  # fmt: skip
def test_both_routes_find_the_same_mistakes(override: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for composed in (hydra_composition.composed, hydra_composition.composed_by_hydra):
        monkeypatch.setattr(composition, "composed", composed)
        with pytest.raises(ConfigError, match=text) as raised:
            composition.compose(["dataset=mod_add", override])
        found.append(str(raised.value))
    assert found[0] == found[1]


@pytest.mark.parametrize("more", ["+more=1", "++training.epochs=2", "~device", "training={epochs:2}"])
def test_a_sweep_with_added_or_removed_keys_is_composed_once(more: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hydra_composition, "_of_process", {})
    compose = Mock(wraps=hydra_composition.compose)
    monkeypatch.setattr(hydra_composition, "compose", compose)
    found = [hydra_composition.composed([more, f"seed={seed}"]) for seed in (1, 2)]
    compose.assert_called_once()
    assert found == [hydra_composition.composed_by_hydra([more, f"seed={seed}"]) for seed in (1, 2)]


@pytest.mark.parametrize("with_hydra", [False, True])
def test_choices_that_an_experiment_makes_are_those_that_are_typed(
    with_hydra: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any order; and a preset of the three, here a network of five layers, is chosen as well."""
    monkeypatch.setattr(hydra_composition, "_of_process", {})
    compose = Mock(wraps=hydra_composition.compose)
    monkeypatch.setattr(hydra_composition, "compose", compose)
    hydra_composition.composed(["experiment=decoder"])
    hydra_composition.composed(["model=cnn", "experiment=decoder", "dataset=ellipses"])
    assert compose.call_count == 2
    for model, dataset in (("mlp", "mod_add"), ("cnn", "ellipses")):
        typed = [f"model={model}", "experiment=decoder", "training=default", "seed=3", f"dataset={dataset}"]
        found = hydra_composition.composed(typed, with_hydra=with_hydra)
        assert compose.call_count == 2
        wanted = hydra_composition.composed_by_hydra(typed, with_hydra=with_hydra)
        compose.call_count = 2
        without_time = [
            re.sub(r"\$\{now:.*?\}", "", OmegaConf.to_yaml(each, sort_keys=True)) for each in (found, wanted)
        ]
        assert without_time[0] == without_time[1]


def test_files_of_ones_own_are_read_again_but_for_a_sweep(tmp_path: Path) -> None:
    """A folder may also begin a group that mi-run has not, even one with the name of a value."""
    (tmp_path / "training").mkdir()
    file = tmp_path / "training/mine.yaml"
    command = ["training=mine", f"hydra.searchpath=['file://{tmp_path}']"]
    with hydra_composition.files_read_once():
        for epochs in (7, 12):
            file.write_text(f"defaults: [/schema/training@_here_]\nepochs: {epochs}\n")
            assert composition.compose([*command, f"seed={epochs}"]).training.epochs == 7
            assert composition.compose([*command, f"seed={epochs}"]).seed == epochs
    assert composition.compose(command).training.epochs == 12
    (tmp_path / "output_dir").mkdir()
    (tmp_path / "output_dir/there.yaml").write_text("{}")
    with hydra_composition.files_read_once(), pytest.raises(ConfigError, match="output_dir=there: is not allowed"):
        composition.compose([*command, "output_dir=there"])


def test_what_a_caller_does_to_a_config_changes_no_other() -> None:
    first = composition.compose_untyped(["model=mlp"])
    first.model.hidden_sizes.append(3)
    first.training.epochs = 17
    assert composition.compose(["model=mlp"]) == composition.compose(["model=mlp", "seed=0"])


# --- properties of the grammar ---------------------------------------------------------------------------------------

TRAINING = [item for item in fields(TrainingConfig) if item.type in ("int", "float")]


def in_range(item: Field[Any]) -> st.SearchStrategy[float]:
    """Values that an option's range allows."""
    bounds = item.metadata
    low = 0 if bounds["at_least"] is None and bounds["above"] is None else bounds["at_least"] or bounds["above"] or 0
    high = bounds["at_most"] or bounds["below"] or 10**6
    if item.type == "int":
        return st.integers(int(low), int(high))
    return st.floats(
        low,
        high,
        exclude_min=bounds["above"] is not None,
        exclude_max=bounds["below"] is not None,
        allow_subnormal=False,
    )


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_value_in_the_range_of_an_option_is_composed(data: st.DataObject) -> None:
    item = data.draw(st.sampled_from(TRAINING))
    value = data.draw(in_range(item))
    config = composition.compose([f"training.{item.name}={value}"])
    assert getattr(config.training, item.name) == value


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_value_below_the_range_of_an_option_is_refused(data: st.DataObject) -> None:
    item = data.draw(st.sampled_from(TRAINING))
    low = item.metadata["at_least"] if item.metadata["at_least"] is not None else item.metadata["above"]
    value = data.draw(st.integers(-(10**6), int(low) - 1))
    with pytest.raises(ConfigError, match=f"training.{item.name}={value}.*: must be (at least|above) "):
        composition.compose([f"training.{item.name}={value}"])


@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_key_without_one_letter_gets_the_key_as_a_hint(data: st.DataObject) -> None:
    keys = [item.name for item in fields(TrainingConfig)]
    key = data.draw(st.sampled_from([key for key in keys if len(key) >= 6]))
    missing = data.draw(st.integers(0, len(key) - 1))
    misspelt = key[:missing] + key[missing + 1 :]
    with pytest.raises(ConfigError, match=rf"no key is named 'training.{misspelt}'. Did you mean training.{key}\?"):
        composition.compose([f"training.{misspelt}=1"])


@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_choice_without_one_letter_gets_the_choice_as_a_hint(data: st.DataObject) -> None:
    group = data.draw(st.sampled_from(list(SCHEMAS)))
    names = [schema.name for schema in SCHEMAS[group]]
    name = data.draw(st.sampled_from([name for name in names if len(name) >= 5]))
    missing = data.draw(st.integers(0, len(name) - 1))
    misspelt = name[:missing] + name[missing + 1 :]
    if misspelt in names:
        return
    with pytest.raises(ConfigError, match=rf"no {group} is named '{misspelt}'. Did you mean \w+\? Allowed: .*{name}"):
        composition.compose([f"{group}={misspelt}"])


@given(text=st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1))
@settings(max_examples=60, deadline=None)
def test_a_text_in_quotes_arrives_as_it_is(text: str) -> None:
    """In single quotes a backslash stands before a quote; backslashes before it, or at the end, are doubled."""
    if "${" in text or text == "???":
        return
    quoted = re.sub(r"(\\*)(?='|$)", r"\1\1", text).replace("'", r"\'")
    config = composition.compose([f"output_dir='{quoted}'"])
    assert config.output_dir == text


@pytest.mark.parametrize(
    ("overrides", "there"),
    [
        ([], True),
        (["experiment=ablation", "model=skip", "experiment.targets=[relu]", "seed=3"], True),
        (["training.epochs=x", "dataset.limit=3"], True),  # values aren't looked at, nor options of what isn't chosen
        (["experiment=abltion"], False),
        (["experiment=ablation", "experiment.target=[relu]"], False),
        (["dataset.labl=3", "dataset=table"], False),
        (["training.epoch=2"], False),
        (["sede=1"], False),
        (["+seed=1"], False),
        (["seed"], False),
        (["experiment=[train,ablation]"], False),
    ],
)
def test_a_glance_tells_names_that_there_are(overrides: list[str], there: bool) -> None:
    assert hydra_composition.name_what_there_is(overrides) == there


@pytest.mark.parametrize("group", SCHEMAS)
def test_a_glance_knows_every_choice_and_option(group: str) -> None:
    for schema in SCHEMAS[group]:
        options = [f"{group}.{option.name}=1" for option in fields(schema)]
        assert hydra_composition.name_what_there_is([f"{group}={schema.name}", *options])
