"""Composes overrides such as `experiment=ablation model=cnn` into a config, not yet converted to dataclasses.

Errors are those of Hydra and OmegaConf; `explanations` turns them into one line. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mi_runner.config.options import Choice
from mi_runner.config.registry import ENGINES, SCHEMAS
from mi_runner.config.run_schema import RunConfig
from mi_runner.config.training_schema import TrainingConfig

CONFIG_MODULE = "mi_runner.conf"

COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException)


@cache
def register_schemas() -> None:
    """Registers the schemas in Hydra, for the files of conf/ that refer to them."""
    store = ConfigStore.instance()
    store.store(group="schema", name="run", node=RunConfig, package="_global_")
    store.store(group="schema", name="training", node=TrainingConfig)
    for group, choices in {**SCHEMAS, **ENGINES}.items():
        for schema in choices:
            store.store(group=f"schema/{group}", name=schema.name, node=schema)


def composed(overrides: Sequence[str] = (), *, with_hydra: bool = False) -> DictConfig:
    """Returns the config of `mi-run` with these overrides.

    Args:
        overrides: `KEY=VALUE`, in Hydra's grammar.
        with_hydra: adds Hydra's own options as the key `hydra`.

    Raises:
        HydraException, OmegaConfBaseException: an override is a mistake.
        ValueError, YAMLError: see `explanations.plain_errors_explained`.
    """
    register_schemas()
    state = GlobalHydra.instance()
    if state.is_initialized():
        state.clear()
    with initialize_config_module(CONFIG_MODULE, version_base="1.3"):
        return compose("config", overrides=list(overrides), return_hydra_config=with_hydra)


def chosen(config: DictConfig, group: str) -> type[Choice]:
    """Returns the schema of a group's choice in a composed config."""
    schema = OmegaConf.get_type(config[group])
    assert schema is not None and issubclass(schema, Choice)
    return schema
