"""Floor 1: what the person asked for, as checked values, and the recipes that ship with Razona."""

from razona.recipe.data import DataSection, PromptSection
from razona.recipe.load import dump, load, read_values, shipped
from razona.recipe.model import LoraSection, ModelSection
from razona.recipe.rewards import RewardComponent, RewardsSection, VerifySection
from razona.recipe.section import Section
from razona.recipe.sections import CheckSection, EvaluateSection, Recipe, ReportSection
from razona.recipe.sft import SftSection
from razona.recipe.training import GuardSection, RolloutSection, TrainSection

__all__ = [
    "CheckSection",
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
    "SftSection",
    "TrainSection",
    "VerifySection",
    "dump",
    "load",
    "read_values",
    "shipped",
]
