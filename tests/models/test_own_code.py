"""The digest of a user's own code: everything that an import brings in counts, as it was imported, and nothing else.

Each question is asked twice: the digest before and after an edit, in processes that have imported nothing yet. Modules
are forgotten in between, which is what a new process does.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from mi_runner.config.models.external import ExternalConfig
from mi_runner.errors import ConfigError
from mi_runner.models import Built, own_code
from mi_runner.models.own_code import attributes_digest, code_of
from mi_runner.runs.choices import build_network
from tests.conftest import Ended
from tests.small_data import classes


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder of the test's own, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    before = set(sys.modules)
    yield tmp_path
    forget(before)


def forget(before: set[str]) -> None:
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or str(getattr(sys.modules[name], "__path__", ""))
        if str(Path.cwd().parent) in file:  # the folders of all tests
            del sys.modules[name]
    importlib.invalidate_caches()


def write(files: dict[str, str]) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)


def network(factory: str, seed: int = 0) -> Built:
    return build_network(ExternalConfig(factory=factory), classes(), seed=seed)


def new_process(factory: str) -> Built:
    before = set(sys.modules)
    built = network(factory)
    forget(before)
    return built


NET = """
from torch import nn
{imports}

class Net(nn.Linear):
    def __init__(self, input_shape, n_outputs):
        super().__init__(input_shape[0], n_outputs)

    def forward(self, x):
        {first}
        return {bend}(super().forward(x))
"""

LINEAR = """
import {imports}
from torch import nn

class Net(nn.Linear):
    def __init__(self):
        super().__init__(6, 3)
        {made}

"""

BEND = "def bend(h):\n    return h.relu()\n"


def net(imports: str, bend: str = "bend", first: str = "pass") -> str:
    return NET.format(imports=imports, bend=bend, first=first)


LAYOUTS: dict[str, tuple[str, dict[str, str], str]] = {
    "beside it": ("net:Net", {"net.py": net("from helper import bend"), "helper.py": BEND}, "helper.py"),
    "an attribute": ("net:Net", {"net.py": net("import helper", "helper.bend"), "helper.py": BEND}, "helper.py"),
    "two steps away": (
        "net:Net",
        {"net.py": net("from near import bend"), "near.py": "from far import bend\n", "far.py": BEND},
        "far.py",
    ),
    "everything of it": ("net:Net", {"net.py": net("from helper import *"), "helper.py": BEND}, "helper.py"),
    "in the forward pass": (
        "net:Net",
        {"net.py": net("", first="from helper import bend"), "helper.py": BEND},
        "helper.py",
    ),
    "in a branch that isn't taken": (
        "net:Net",
        {"net.py": net("", "(lambda h: h)", "\n        if self.training: import helper"), "helper.py": BEND},
        "helper.py",
    ),
    "by its name": (
        "net:Net",
        {"net.py": net("import importlib\nbend = importlib.import_module('helper').bend"), "helper.py": BEND},
        "helper.py",
    ),
    "by a name that is computed": (
        "net:Net",
        {"net.py": net("import importlib\nh = importlib.import_module('hel' + 'per')", "h.bend"), "helper.py": BEND},
        "helper.py",
    ),
    "a package": (
        "mine.models.net:Net",
        {
            "mine/__init__.py": "",
            "mine/models/__init__.py": "SCALE = 1\n",
            "mine/models/net.py": net("from ..layers import bend"),
            "mine/layers.py": BEND,
        },
        "mine/layers.py",
    ),
    "a package's own file": (
        "mine.models.net:Net",
        {"mine/__init__.py": "", "mine/models/__init__.py": BEND, "mine/models/net.py": net("from . import bend")},
        "mine/models/__init__.py",
    ),
    "a submodule by its package": (
        "mine.net:Net",
        {"mine/__init__.py": "", "mine/net.py": net("from mine import layers", "layers.bend"), "mine/layers.py": BEND},
        "mine/layers.py",
    ),
    "a namespace package": (
        "spaced.net:Net",
        {"spaced/net.py": net("from spaced.deep.layers import bend"), "spaced/deep/layers.py": BEND},
        "spaced/deep/layers.py",
    ),
    "an export": (
        "mine:Net",
        {
            "mine/__init__.py": "from mine.net import Net\n",
            "mine/net.py": net("from .layers import bend"),
            "mine/layers.py": BEND,
        },
        "mine/layers.py",
    ),
    "plugins": (
        "mine.net:Net",
        {
            "mine/__init__.py": "import importlib\nfor n in ['layers']:\n    importlib.import_module('mine.' + n)\n",
            "mine/net.py": net("import mine", "mine.layers.bend"),
            "mine/layers.py": BEND,
        },
        "mine/layers.py",
    ),
    "a factory's class": (
        "net:make",
        {
            "net.py": "def make(n_outputs):\n    from kinds import Net\n    return Net((6,), n_outputs)\n",
            "kinds.py": net("from helper import bend"),
            "helper.py": BEND,
        },
        "helper.py",
    ),
    "a partial": (
        "net:make",
        {
            "net.py": "import functools, kinds\nmake = functools.partial(kinds.Net, (6,), 3)\n",
            "kinds.py": net("from helper import bend"),
            "helper.py": BEND,
        },
        "helper.py",
    ),
    "another folder on the path": (
        "net:Net",
        {"net.py": net("from common import bend"), "elsewhere/common.py": BEND},
        "elsewhere/common.py",
    ),
    "an installed factory": (
        "theirs.net:Net",
        {
            "site-packages/theirs/__init__.py": "",
            "site-packages/theirs/net.py": net("from theirs.layers import bend"),
            "site-packages/theirs/layers.py": BEND,
        },
        "site-packages/theirs/layers.py",
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_edit_of_what_an_import_brings_in_is_another_network(
    layout: str, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    factory, files, edited = LAYOUTS[layout]
    write(files)
    monkeypatch.setattr(sys, "path", [str(folder / "elsewhere"), str(folder / "site-packages"), *sys.path])
    before = new_process(factory)
    assert new_process(factory).source == before.source
    Path(edited).write_text(files[edited].replace("h.relu()", "h.tanh()").replace("SCALE = 1", "SCALE = 2"))
    after = new_process(factory)
    assert after.source != before.source and after.code != before.code
    Path(edited).write_text(files[edited])
    again = new_process(factory)
    assert again.source == before.source
    assert all(built.warnings == () for built in (before, after, again))


def test_what_is_not_imported_or_not_ones_own_does_not_count(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    write({"net.py": net("from helper import bend\nimport theirs\nimport json"), "helper.py": BEND, "other.py": BEND})
    write({"site-packages/theirs.py": BEND, "notes.txt": "", "random.py": "1 / 0\n"})
    monkeypatch.setattr(sys, "path", [str(folder / "site-packages"), *sys.path])
    before = new_process("net:Net").code
    write({"other.py": "", "site-packages/theirs.py": "", "notes.txt": "more"})
    assert new_process("net:Net").code == before


def test_the_digest_depends_on_no_other_factory_and_on_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The jobs of a sweep in one process have the digests that they have alone; so has a copy of the folder."""
    files = {"zoo/__init__.py": "", "zoo/tools.py": BEND, "zoo/b.py": net("from .tools import bend")}
    files["zoo/a.py"] = net("import zoo.b", "zoo.b.bend")
    write(files)
    alone = [new_process(f"zoo.{name}:Net").code for name in "ab"]
    assert alone[0] != alone[1]
    before = set(sys.modules)
    for order in ("ab", "ba", "abba"):
        found = {name: network(f"zoo.{name}:Net").code for name in order}
        assert [found[name] for name in "ab"] == alone
        forget(before)
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path / "copy")
    write(files)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "copy"), *sys.path])
    assert [new_process(f"zoo.{name}:Net").code for name in "ab"] == alone


def test_a_limit_on_what_is_parsed_keeps_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_code, "MOST_PARSED", 1)
    write({"net.py": net("from near import bend"), "near.py": "from far import bend\nimport else_\n", "far.py": BEND})
    write({"else_.py": "import last\n", "last.py": "x = 1\n"})
    codes = []
    for changed in ({}, {"far.py": BEND.replace("relu", "tanh")}, {"last.py": "x = 2\n"}):
        write(changed)
        codes.append(new_process("net:Net").code)
    assert len(set(codes)) == 3


# --- the code that runs --------------------------------------------------------------------------------------------


def test_an_edit_after_the_import_counts_in_the_next_process(folder: Path) -> None:
    """This process still has the earlier code, so its digest stays, and a line says so."""
    write({"net.py": net("from helper import bend"), "helper.py": BEND})
    before = set(sys.modules)
    first = network("net:Net")
    x = classes().x_test
    write({"helper.py": BEND.replace("relu", "tanh")})
    second = network("net:Net")
    assert torch.equal(first.model(x), second.model(x))
    assert second.source == first.source
    assert first.warnings == () and second.warnings == (
        f"{folder / 'helper.py'}: edited after the import; this process runs the earlier code. "
        "Start it again to run the new.",
    )
    forget(before)
    third = network("net:Net")
    assert not torch.equal(third.model(x), first.model(x)) and third.source != first.source
    assert third.warnings == ()


def test_an_edit_between_the_users_import_and_the_first_run_is_seen() -> None:
    """The file's new text isn't what runs: with its digest, the next process would take the wrong weights."""
    write({"net.py": net("from helper import bend"), "helper.py": BEND})
    import net as own  # type: ignore[import-not-found]

    write({"helper.py": BEND.replace("relu", "tanh")})
    running = network("net:Net")
    assert isinstance(running.model, own.Net)
    (line,) = running.warnings
    assert "helper.py: edited after the import" in line
    del sys.modules["net"], sys.modules["helper"]
    assert network("net:Net").source != running.source
    write({"helper.py": BEND})
    del sys.modules["net"], sys.modules["helper"]
    assert network("net:Net").source != running.source  # nobody knows what else the earlier text had


def test_a_reloaded_module_counts_as_it_is() -> None:
    write({"net.py": net("import helper", "helper.bend"), "helper.py": BEND})
    before = network("net:Net")
    write({"helper.py": BEND.replace("relu", "tanh") + "\n"})
    importlib.reload(sys.modules["helper"])
    after = network("net:Net")
    assert after.source != before.source and after.warnings == ()


def test_code_that_was_typed_counts() -> None:
    """A notebook's main module has no file."""

    def typed(text: str) -> str:
        module = ModuleType("typed_in_a_notebook")
        module.__spec__ = None
        sys.modules[module.__name__] = module
        exec(text, vars(module))
        return code_of([module.__name__]).digest

    text = "SCALE = 2\nclass Net:\n    def forward(self, x):\n        return SCALE * x\n"
    assert typed(text) == typed(text + "unused = 3\n")
    assert typed(text) != typed(text.replace("* x", "+ x"))
    assert typed(text) != typed(text.replace("SCALE = 2", "SCALE = 3"))
    del sys.modules["typed_in_a_notebook"]


def test_modules_of_a_zip_file_and_files_that_are_gone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for bend in (BEND, BEND.replace("relu", "tanh")):
        with zipfile.ZipFile(f"code{len(found)}.zip", "w") as archive:
            archive.writestr("net.py", net("from helper import bend"))
            archive.writestr("helper.py", bend)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "path", [f"{folder}/code{len(found)}.zip", *sys.path])
            found.append(new_process("net:Net").code)
    assert found[0] != found[1]
    write({"net.py": net("from helper import bend"), "helper.py": BEND})
    before = network("net:Net").code
    Path("helper.py").unlink()
    assert network("net:Net").code == before


# --- what the code leaves ------------------------------------------------------------------------------------------


def test_what_a_factory_reads_from_a_file_counts_by_what_it_makes_of_it() -> None:
    read = "self.sizes = json.loads(pathlib.Path('sizes.json').read_text())"
    write({"net.py": LINEAR.format(imports="json, pathlib", made=read), "sizes.json": "[1, {}]"})
    before = new_process("net:Net")
    assert new_process("net:Net").source == before.source
    write({"sizes.json": "[2, {}]"})
    after = new_process("net:Net")
    assert after.source != before.source and after.code == before.code


def test_plain_attributes_count_and_others_do_not() -> None:
    def digest(**held: object) -> str:
        module = nn.Identity()
        for name, value in held.items():
            setattr(module, name, value)
        return attributes_digest(module.named_modules())

    values = [1, 1.0, "1", True, None, [1], (1, 2), {"a": 1}, {1, 2}, np.ones(2), torch.ones(2), torch.ones(2).half()]
    found = [digest(value=value) for value in values]
    assert len(set(found)) == len(values)
    assert digest(value=object()) == digest() and digest(value=torch.ones(2, device="meta")) == digest()
    assert digest(value=torch.ones(2)) == digest(value=torch.ones(2)) != digest(value=torch.zeros(2))


# --- draws ---------------------------------------------------------------------------------------------------------


def test_what_an_import_draws_changes_no_weights(folder: Path) -> None:
    """A second network of a process has the weights that it has in a process of its own."""
    write({"net.py": "import torch\n" + net("torch.randn(3)", "(lambda h: h)")})
    first, second = network("net:Net").model.weight, network("net:Net").model.weight
    assert torch.equal(first, second)


def test_weights_from_numpy_and_random_derive_from_the_seed() -> None:
    draws = "self.weight.data[:] = torch.tensor(np.random.randn(3, 6) + random.random())"
    write({"net.py": LINEAR.format(imports="random, torch, numpy as np", made=draws)})
    before = np.random.get_state()[1].tolist()
    first, again, other = (network("net:Net", seed).model.weight for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert np.random.get_state()[1].tolist() == before


def test_a_factory_that_seeds_disturbs_no_generator() -> None:
    seeds = "torch.manual_seed(2), np.random.seed(3), random.seed(4)"
    write({"net.py": LINEAR.format(imports="random, torch, numpy as np", made=seeds) + seeds})
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    network("net:Net")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]


# --- wrappers ------------------------------------------------------------------------------------------------------


class Wrapped(nn.Module):
    """What torch.compile returns, without its second of imports."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self._orig_mod = inner


PLAIN = "nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))"

WRAPPERS = {
    "compiled": "return compiled(plain())",
    "compiled inside": "net = plain()\n    net[0] = compiled(net[0])\n    return net",
    "DataParallel": "return nn.DataParallel(plain())",
    "both": "return nn.DataParallel(compiled(plain()))",
    "compiled in place": "net = plain()\n    net._compiled_call_impl = net._call_impl\n    return net",
}


@pytest.mark.parametrize("way", WRAPPERS)
def test_the_plain_network_of_a_wrapper_is_taken(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = ModuleType("torch._dynamo.eval_frame")
    vars(frames)["OptimizedModule"] = Wrapped
    monkeypatch.setitem(sys.modules, "torch._dynamo.eval_frame", frames)
    imports = f"from torch import nn\nfrom {__name__} import Wrapped as compiled\n"
    write({"net.py": f"{imports}def plain():\n    return {PLAIN}\ndef make():\n    {WRAPPERS[way]}\n"})
    built, plain = network("net:make"), network("net:plain")
    assert "net:make: the plain network is taken, without " in built.notes[0] and plain.notes == ()
    assert repr(built.model) == repr(plain.model)
    assert all(torch.equal(built.model.state_dict()[name], value) for name, value in plain.model.state_dict().items())
    assert all(module._compiled_call_impl is None for module in built.model.modules())


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(("made", "what"), [("{}", "it"), ("nn.Sequential({})", "its submodule 0")])
def test_a_scripted_network_is_refused(made: str, what: str) -> None:
    body = made.format(f"torch.jit.trace({PLAIN}, torch.zeros(1, 6))")
    write({"net.py": f"import torch\nfrom torch import nn\ndef make():\n    return {body}\n"})
    with pytest.raises(ConfigError, match=rf"net:make: {what} is a TorchScript module, .* return the plain network"):
        network("net:make")


def test_an_extra_state_is_refused() -> None:
    made = "self.get_extra_state = dict\n    def get_extra_state(self): return {'a': 1}"
    write({"net.py": LINEAR.format(imports="torch", made=made)})
    with pytest.raises(ConfigError, match="its state_dict has _extra_state, which is no tensor: leave out get_extra"):
        network("net:Net")


# --- a run ---------------------------------------------------------------------------------------------------------


def test_a_changed_helper_trains_again_and_diff_says_that_the_code_differs(mi_run: Callable[..., Ended]) -> None:
    write({"net.py": net("from helper import bend"), "helper.py": BEND})
    data = classes()
    np.savez("d.npz", **{name: getattr(data, name).numpy() for name in ("x_train", "y_train", "x_test", "y_test")})
    command = ["dataset=arrays", "dataset.path=d.npz", "model=external", "model.factory=net:Net", "report=false"]
    before = set(sys.modules)
    runs = []
    for bend in (BEND, BEND, BEND.replace("relu", "tanh")):
        write({"helper.py": bend})
        runs.append(mi_run(*command, "training.epochs=1", "dataset.limit=40"))
        assert runs[-1].status == 0, runs[-1].err
        forget(before)
    assert [run.record["checkpoint"]["from"] for run in runs] == ["training", "model store", "training"]
    codes = [run.record["versions"]["code of net:Net"] for run in runs]
    assert codes[0] == codes[1] != codes[2]
    same, other = (mi_run("diff", str(runs[0].folder), str(run.folder)) for run in runs[1:])
    assert "code of net:Net" in other.out and codes[2] in other.out and "code of" not in same.out


def test_an_edit_during_a_sweep_is_said_and_changes_no_job(mi_run: Callable[..., Ended]) -> None:
    """Tables that are made again group jobs by the code that they ran."""
    write({"net.py": net("from helper import bend"), "helper.py": BEND})
    data = ("dataset=mod_add", "dataset.train_size=40", "dataset.test_size=20", "training.epochs=1", "report=false")
    swept = mi_run("-m", *data, "model=external", "model.factory=net:Net", "seed=0,1")
    assert swept.status == 0 and "same code" not in swept.err
    record = swept.folder / "1" / "run.json"
    own = json.loads(record.read_text())["versions"]["code of net:Net"]
    record.write_text(record.read_text().replace(own, "0123456789ab"))
    again = mi_run(f"sweep={swept.folder}")
    assert "+0123456789ab ran jobs 1: not all rows are by the same code" in again.err
    assert f"+{own}" in (swept.folder / "sweep.csv").read_text()


def test_diff_says_that_the_code_of_a_method_differs(mi_run: Callable[..., Ended]) -> None:
    score = "from helper import sign\ndef score(part, x, target, ablation):\n    return [{} for layer in part.layers]\n"
    write({"score.py": score.format("sign * layer.weight.abs()"), "helper.py": "sign = 1\n"})
    command = ["experiment=discovery", "dataset=logic", "model.hidden_sizes=[2,2]", "experiment.methods=[score:score]"]
    command += ["experiment.bootstrap=5", "experiment.accuracy_threshold=0.4", "report=false"]
    before = set(sys.modules)
    runs = []
    for text in ("sign = 1\n", "sign = 2\n"):
        write({"helper.py": text})
        runs.append(mi_run(*command, "training.epochs=1"))
        assert runs[-1].status == 0, runs[-1].err
        forget(before)
    assert "code of score:score" in mi_run("diff", *(str(run.folder) for run in runs)).out
