"""Razona's rewards in plain TRL; Unsloth's GRPOTrainer takes them alike. python examples/trl_rewards.py MODEL."""

import sys

from razona.recipe import RewardComponent, RewardsSection
from razona.rewards import Mix
from razona.verify import Tags

TAGS = Tags(working_open="<think>", working_close="</think>", solution_open="<answer>", solution_close="</answer>")
SYSTEM = "Think between <think> and </think>, then give the answer between <answer> and </answer>."
REWARDS = RewardsSection(
    components=[
        RewardComponent(name="correct"),
        RewardComponent(name="format", weight=0.2, when="correct"),
        RewardComponent(name="length", weight=0.1, when="correct", options={"target_tokens": 192, "buffer": 64}),
    ]
)
ROWS = [{"question": f"What is {a} + {a + 3}?", "target": str(2 * a + 3)} for a in range(1, 65)]


def main(model: str) -> None:
    """Train for two steps."""
    import torch
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    def prompt(row: dict[str, str]) -> dict[str, object]:
        return {"prompt": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": row["question"]}]}

    sizes = {"max_steps": 2, "max_completion_length": 256, "num_generations": 4, "per_device_train_batch_size": 8}
    gpu = torch.cuda.is_available()
    arguments = GRPOConfig(output_dir="runs/trl", use_cpu=not gpu, bf16=gpu, gradient_checkpointing=gpu, **sizes)
    data, rewards = Dataset.from_list(ROWS).map(prompt), Mix.of(REWARDS, TAGS)
    GRPOTrainer(model, reward_funcs=[rewards], args=arguments, train_dataset=data).train()
    print(rewards.receipts[0])


if __name__ == "__main__":
    main(sys.argv[1])
