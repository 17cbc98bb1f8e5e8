"""The private parts of TRL that we stand on: a new version that moves one fails here, with its name."""

import inspect

from accelerate.state import AcceleratorState
from transformers import Trainer
from trl import GRPOConfig, GRPOTrainer
from trl.generation.vllm_generation import VLLMGeneration

SIGNATURES = {
    "_generate_and_score_completions": ["self", "inputs"],
    "_save_checkpoint": ["self", "model", "trial"],
    "_get_output_dir": ["self", "trial"],
    "_save": ["self", "output_dir", "state_dict"],
    "_generate_single_turn": [
        "self",
        "prompt_ids",
        "images",
        "multimodal_fields",
        "num_generations",
        "has_tool_images",
    ],
    "_tokenize_prompts": ["self", "prompts"],
    "training_step": ["self", "model", "inputs", "num_items_in_batch"],
    "compute_loss": ["self", "model", "inputs", "return_outputs", "num_items_in_batch"],
    "_get_grad_norm": ["self", "model", "grad_norm"],
    "log": ["self", "logs", "start_time"],
}


def test_the_methods_we_override_have_the_signatures_we_know():
    for name, parameters in SIGNATURES.items():
        assert list(inspect.signature(getattr(GRPOTrainer, name)).parameters) == parameters, name


def test_log_probs_are_asked_for_by_the_parameters_that_we_read():
    parameters = list(inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies).parameters)
    ours = ["self", "model", "input_ids", "attention_mask", "logits_to_keep", "batch_size", "compute_entropy"]
    assert parameters[: len(ours)] == ours


def test_vllm_is_asked_as_the_stand_in_of_our_tests_answers():
    assert list(inspect.signature(VLLMGeneration.generate).parameters) == [
        "self",
        "prompts",
        "images",
        "num_generations",
        "profiler",
    ]
    source = inspect.getsource(GRPOTrainer._generate_single_turn)
    assert "_, completion_ids, logprobs, _ = self.vllm_generation.generate(" in source
    assert "self.vllm_generation.sync_weights()" in source


def test_the_fields_we_set_are_there():
    fields = set(GRPOConfig.__dataclass_fields__)
    assert {"steps_per_generation", "num_generations", "epsilon_high", "scale_rewards", "loss_type", "beta"} <= fields


def test_none_from_the_only_reward_leaves_the_row_out():
    source = inspect.getsource(GRPOTrainer._generate_and_score_completions)
    assert "unscorable_mask" in source and "nan_to_num(advantages" in source


def test_a_checkpoint_is_written_and_rotated_below_the_folder_that_we_name():
    """Else it would lie in its place before it is sealed, or others would be removed there."""
    source = inspect.getsource(Trainer._save_checkpoint)
    assert "run_dir = self._get_output_dir(trial=trial)" in source
    assert 'checkpoint_folder = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"' in source
    assert "output_dir = os.path.join(run_dir, checkpoint_folder)" in source
    assert source.count("output_dir=run_dir") == 1 and "self.args.output_dir" not in source


def test_a_checkpoint_is_written_before_its_callbacks_hear_of_it_and_after_the_row_of_its_step():
    source = inspect.getsource(Trainer._maybe_log_save_evaluate)
    places = [source.index(call) for call in ("self.log(", "self._save_checkpoint(", "callback_handler.on_save(")]
    assert places == sorted(places)


def test_trl_counts_and_buffers_under_the_names_that_a_checkpoint_holds():
    source = inspect.getsource(GRPOTrainer)
    for line in ("self._step = 0", "self._step += 1", "self._buffered_inputs = None"):
        assert source.count(line) == 1, line
    assert "self._buffered_inputs[self._step % self.args.steps_per_generation]" in source


def test_the_norm_of_the_gradients_is_asked_for_at_every_update_and_before_it():
    source = inspect.getsource(Trainer._run_epoch)
    order = [
        "self._clip_grad_norm(model)",
        "self._get_grad_norm(model,",
        "on_pre_optimizer_step",
        "self.optimizer.step()",
    ]
    places = [source.index(one) for one in order]
    assert places == sorted(places) and source.count("self._get_grad_norm(") == 1


def test_trl_scales_the_loss_itself_so_that_parts_of_it_add_up():
    assert GRPOTrainer.loss_is_scaled_for_ga is True


def test_trl_seeds_when_a_trainer_is_made():
    """So what was drawn before it, in a supervised fine-tuning for example, changes nothing in a resumed run."""
    source = inspect.getsource(GRPOTrainer.__init__)
    assert "set_seed(args.seed, device_specific=True)" in source


def test_accelerate_looks_at_the_kind_of_processes_before_it_shards():
    """`admit_sharding_on_cpu` changes that kind; where accelerate knows MULTI_CPU here, it can go."""
    kinds, _, shards = inspect.getsource(AcceleratorState.__init__).partition("ACCELERATE_USE_FSDP")
    assert shards and "DistributedType.MULTI_GPU" in kinds.rpartition("elif")[2]
    assert "DistributedType.MULTI_CPU" not in kinds.rpartition("elif")[2]
