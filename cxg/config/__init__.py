"""The configuration: one YAML file in, one tree of frozen dataclasses out.

`load` is pure: it sees the text and the environment it is handed and nothing else. Every
problem is collected before `ConfigError` is raised, so that one run shows them all.

==============  ==========================================================
`model`         the keys: type, default and meaning, each written once
`kinds`         the values a key takes, and the sentence for a wrong one; `lists` for many
`visitors`      the sections about who may see which dataset
`checks`        checks of a host, a link, a dataroot...
`nodes`         YAML nodes: types, words for them, their entries
`environment`   the environment variables
`runtime`       what they say, read once into one value
`old_keys`      keys of older and later cellxgene files, and the answer to them
`reader`        YAML nodes -> dataclasses, with line numbers
`render`        the default file and docs/config.md, from `model`
`commands`      what `cxg config check` and `cxg config docs` print
==============  ==========================================================
"""

from cxg.config.environment import ENVIRONMENT
from cxg.config.lists import Script
from cxg.config.model import (
    Adaptor,
    Config,
    DataLocator,
    Diffexp,
    Embeddings,
    Limits,
    MatrixCache,
    MultiDataset,
    S3Locator,
    Server,
    SingleDataset,
)
from cxg.config.pages import Presentation, Site, Visit
from cxg.config.reader import LoadedConfig, default, load
from cxg.config.render import default_yaml
from cxg.config.visitors import Access, LoadBalancer, Proxy

__all__ = [
    "ENVIRONMENT",
    "Access",
    "Adaptor",
    "Config",
    "DataLocator",
    "Diffexp",
    "Embeddings",
    "Limits",
    "LoadBalancer",
    "LoadedConfig",
    "MatrixCache",
    "MultiDataset",
    "Presentation",
    "Proxy",
    "S3Locator",
    "Script",
    "Server",
    "SingleDataset",
    "Site",
    "Visit",
    "default",
    "default_yaml",
    "load",
]
