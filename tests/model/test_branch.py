"""A layer and its branch as one function give the losses and gradients of peft's, and of plain masks and attention."""

from dataclasses import replace

import pytest
import torch

from helpers.model import branch
from helpers.train.arguments import QUIET
from tests.small_training import CONFIG, build
from tests.train.test_training import new_run

KINDS = {
    "4 bits in float32": ({"compute_dtype": "float32"}, 1e-5),
    "4 bits in bfloat16": ({"compute_dtype": "bfloat16"}, 6e-2),
    "16 bits": ({"compute_dtype": "bfloat16", "load_in_4bit": False}, 6e-2),
    "rsLoRA": ({"compute_dtype": "float32", "use_rslora": True}, 1e-5),
    "dropout": ({"compute_dtype": "float32", "lora_dropout": 0.3}, 1e-5),
    "checkpointing": ({"compute_dtype": "float32", "activation_checkpointing": True}, 1e-5),
    "sdpa": ({"compute_dtype": "float32", "attn_implementation": "sdpa"}, 1e-5),
}


def passed(folder, config, monkeypatch, one: bool, masked: bool) -> tuple:
    """Loss and gradients of one batch with padding, and how many layers are one function."""
    with monkeypatch.context() as patch:
        if not one:
            patch.setattr(branch, "ONE", {})
        trainer = build(new_run(folder), config, bf16=False, **QUIET)
    torch.manual_seed(0)
    for name, weight in trainer.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
    assert batch["attention_mask"].min() == 0  # some rows are padded
    if masked:
        monkeypatch.setattr("helpers.train.trainer.flush_left", lambda mask: False)
    trainer.model.train()
    torch.manual_seed(1)
    loss = trainer.compute_loss(trainer.model, dict(batch))
    loss.backward()
    gradients = torch.cat([w.grad.float().flatten() for w in trainer.model.parameters() if w.requires_grad])
    return loss.item(), gradients, sum(isinstance(m, branch._OneFunction) for m in trainer.model.modules())


@pytest.mark.parametrize(("settings", "near"), KINDS.values(), ids=KINDS)
def test_the_gradients_are_pefts(tmp_path, monkeypatch, settings, near):
    config = replace(CONFIG, **({"lora_dropout": 0.0} | settings))
    loss, mine, count = passed(tmp_path / "one", config, monkeypatch, one=True, masked=False)
    wanted, theirs, none = passed(tmp_path / "plain", config, monkeypatch, one=False, masked=True)
    assert count >= 14 and none == 0
    assert loss == pytest.approx(wanted, abs=max(near / 6, 1e-5))
    assert (mine - theirs).norm() <= near * theirs.norm() and theirs.norm() > 0.01


def test_where_it_is_not_a_plain_branch_peft_computes(tmp_path):
    trainer = build(
        new_run(tmp_path / "run"), replace(CONFIG, compute_dtype="float32", lora_dropout=0.0), bf16=False, **QUIET
    )
    layer = next(m for m in trainer.model.modules() if isinstance(m, branch._OneFunction))
    torch.nn.init.normal_(layer.lora_B["default"].weight)
    x = torch.randn(2, 3, layer.in_features)
    plain, adapted = layer.base_layer(x), layer(x)
    assert not torch.allclose(plain, adapted)
    with trainer.model.disable_adapter():
        assert torch.equal(layer(x), plain)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), adapted, rtol=1e-4, atol=1e-5)
    layer.set_adapter([])
    assert torch.equal(layer(x), plain)
