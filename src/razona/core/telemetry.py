"""What the libraries under Razona would tell their makers about a run: switched off."""

import os
import sys
from collections.abc import Mapping, MutableMapping

SWITCHES: Mapping[str, str] = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "UNSLOTH_DISABLE_STATISTICS": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "WANDB_ERROR_REPORTING": "false",
}
"""Environment variable -> the value with which its libraries say nothing.

HF_HUB_DISABLE_TELEMETRY: trl, which otherwise sends the model's family, the GPU, the number of processes and the kind
of data set each time that a trainer is made (trl/trainer/base_trainer.py); huggingface_hub and transformers, which add
versions and where they run to each request. HF_UPDATE_DOWNLOAD_COUNTS: datasets, which otherwise reports each
reading of a local parquet file (datasets/load.py). DO_NOT_TRACK: vLLM, huggingface_hub and others.
RAY_USAGE_STATS_ENABLED: Ray, which vLLM can start. UNSLOTH_DISABLE_STATISTICS: Unsloth, which otherwise downloads a
file whose name tells the platform. GRADIO_ANALYTICS_ENABLED: Gradio, on which trackio's page stands.
WANDB_ERROR_REPORTING: W&B, which otherwise sends its own errors home, even where it is installed and never used.
"""


def switch_off_telemetry(environment: MutableMapping[str, str] = os.environ) -> None:
    """Switch off what libraries send by themselves, here and in processes that this one starts.

    What the person has set in the environment stays as it is. Called before the libraries are imported, which is when
    they look; the two of the hub, which may have come first, are told, too.
    """
    for name, value in SWITCHES.items():
        environment.setdefault(name, value)
    _tell("huggingface_hub.constants", "HF_HUB_DISABLE_TELEMETRY", True, environment)
    _tell("datasets.config", "HF_UPDATE_DOWNLOAD_COUNTS", False, environment)


def _tell(module: str, name: str, value: bool, environment: Mapping[str, str]) -> None:
    if module in sys.modules and environment[name] == SWITCHES[name]:
        setattr(sys.modules[module], name, value)
