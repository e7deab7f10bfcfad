"""On which of a network's values does its output depend? Each is replaced, and the loss of accuracy measured.

`ablate` takes sites, edges and paths, `ablate_units` each unit of a site, `scrub` all sites at once by examples that
agree. `ablate_beyond` asks what a site does beyond its mean or beyond a linear function of the input. `contributions`
splits the logits into what each summand adds. docs/ablation.md explains the measures.
"""

from mi_runner.methods.ablation import Scoring, ablate, ablate_units, scrub
from mi_runner.methods.contributions import contributions
from mi_runner.methods.replacements import Running, Source
from mi_runner.methods.residuals import ablate_beyond
from mi_runner.methods.site_parts import SitePart

__all__ = [
    "Running",
    "Scoring",
    "SitePart",
    "Source",
    "ablate",
    "ablate_beyond",
    "ablate_units",
    "contributions",
    "scrub",
]
