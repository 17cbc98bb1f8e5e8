"""Floor 1: what the person asked for, as checked values, and the recipes that ship with Razona."""

from razona.recipe.load import dump, load, shipped
from razona.recipe.sections import (
    DataSection,
    EvaluateSection,
    GuardSection,
    LoraSection,
    ModelSection,
    PromptSection,
    Recipe,
    ReportSection,
    RewardComponent,
    RewardsSection,
    RolloutSection,
    Section,
    TrainSection,
    VerifySection,
)

__all__ = [
    "DataSection",
    "EvaluateSection",
    "GuardSection",
    "LoraSection",
    "ModelSection",
    "PromptSection",
    "Recipe",
    "ReportSection",
    "RewardComponent",
    "RewardsSection",
    "RolloutSection",
    "Section",
    "TrainSection",
    "VerifySection",
    "dump",
    "load",
    "shipped",
]
