"""What README.md says of transformers' two classes, by running them; nothing of dsmoe is needed.

A claim that fails here after a change of the pinned version is a sentence to rewrite there.
"""
import json
import math
import pathlib
import tempfile
import unittest
import warnings

import torch
import transformers

import draw
import files
import oracle

CONFIG = {
    "vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "moe_intermediate_size": 8, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "q_lora_rank": 7, "kv_lora_rank": 8, "qk_nope_head_dim": 6,
    "qk_rope_head_dim": 4, "v_head_dim": 10, "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 3,
    "first_k_dense_replace": 1, "n_group": 4, "topk_group": 2, "max_position_embeddings": 64,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
OWN = {"v2": {"topk_method": "group_limited_greedy"}, "v3": {"num_nextn_predict_layers": 0}}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}
IDS = torch.arange(40)[None]


def drawn(family, **changes):
    return draw.Drawn(family, CONFIG | OWN[family] | changes, "per_expert", "transformers", 0, ())


def build(family, **changes):
    warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
    return oracle.build(drawn(family, **changes))


@torch.no_grad()
def logits(family, **changes):
    return build(family, **changes)(IDS).logits


def yarn(**scales):
    return {"rope_parameters": YARN | scales}


class BehaviourTest(unittest.TestCase):

    def same(self, family, **changes):
        self.assertTrue(torch.equal(logits(family, **changes), logits(family)), (family, changes))

    def other(self, family, **changes):
        self.assertGreater((logits(family, **changes) - logits(family)).abs().max(), 1e-3, (family, changes))

    def test_the_version_is_the_pinned_one(self):
        self.assertEqual(transformers.__version__, "5.18.0")

    def test_v2_ignores_what_its_router_does_not_have(self):
        for ignored in ({"norm_topk_prob": True}, {"scoring_func": "sigmoid"}, {"group_score": "top2_sum"}):
            self.same("v2", **ignored)
        self.other("v2", routed_scaling_factor=2.0)

    def test_v3_ignores_what_its_router_is_called(self):
        for ignored in ({"scoring_func": "softmax"}, {"topk_method": "greedy"}):
            self.same("v3", **ignored)
        self.other("v3", norm_topk_prob=False)

    def test_v3_writes_no_name_of_its_router(self):
        config = drawn("v3").config
        self.assertTrue({"scoring_func", "topk_method"}.isdisjoint(
            transformers.DeepseekV3Config(**config).to_dict()))

    def test_both_ignore_keys_of_training_and_of_other_shapes(self):
        for family in ("v2", "v3"):
            for ignored in ({"moe_layer_freq": 2}, {"aux_loss_alpha": 1.0, "seq_aux": True},
                            {"max_position_embeddings": 8}, {"initializer_range": 0.5}):
                self.same(family, **ignored)

    def test_only_v2_ignores_a_head_dim_that_is_not_the_rotated_width(self):
        self.same("v2", head_dim=8)
        with self.assertRaises(RuntimeError):
            logits("v3", head_dim=8)

    def test_the_latent_norms_keep_their_own_epsilon(self):
        for family in ("v2", "v3"):
            attention = build(family, rms_norm_eps=0.01).model.layers[0].self_attn
            self.assertEqual(attention.kv_a_layernorm.variance_epsilon, 1e-6)
            self.assertEqual(attention.q_a_layernorm.variance_epsilon, 1e-6)
            self.other(family, rms_norm_eps=0.01)

    def test_v2_does_not_know_gready(self):
        with self.assertRaises(UnboundLocalError):
            logits("v2", topk_method="gready")

    def test_only_v2_demands_a_width_divisible_by_heads(self):
        heads = {"num_attention_heads": 3, "num_key_value_heads": 3}
        with self.assertRaisesRegex(Exception, "not a multiple of the number of attention heads"):
            logits("v2", **heads)
        self.assertTrue(logits("v3", **heads).isfinite().all())

    def test_v2_in_float32_demands_even_widths_before_the_rotated_part(self):
        for odd in ({"kv_lora_rank": 7}, {"qk_nope_head_dim": 5}):
            with self.assertRaisesRegex(RuntimeError, "divisible by 2"):
                logits("v2", **odd)
            self.assertTrue(logits("v3", **odd).isfinite().all())

    def test_fewer_kv_heads_than_heads_do_not_fit_eager_attention(self):
        for family in ("v2", "v3"):
            model = build(family, num_key_value_heads=1)
            model.config._attn_implementation = "eager"
            with self.assertRaises(RuntimeError):
                model(IDS)

    def test_no_shared_expert_is_one_without_rows(self):
        for family in ("v2", "v3"):
            model = build(family, n_shared_experts=0)
            empty = {name: list(p.shape) for name, p in model.named_parameters() if "shared" in name}
            self.assertEqual(sorted(map(tuple, empty.values())), [(0, 16), (0, 16), (16, 0)])
            self.assertTrue(model(IDS).logits.isfinite().all())

    def test_v3_scores_a_group_by_two_experts_and_so_needs_two(self):
        with self.assertRaisesRegex(RuntimeError, "out of range"):
            logits("v3", n_group=8, topk_group=4)
        self.assertTrue(logits("v2", n_group=8, topk_group=4).isfinite().all())

    def test_more_experts_than_the_groups_hold_come_from_outside(self):
        chosen = {"topk_group": 1, "num_experts_per_tok": 3}
        for family, weighs in (("v2", False), ("v3", True)):
            gate = build(family, **chosen).model.layers[1].mlp.gate
            with torch.no_grad():
                _, weights, _ = gate(torch.randn(20, 16, generator=torch.Generator().manual_seed(1)))
            self.assertEqual(bool((weights > 0).all()), weighs, family)

    def test_v2_masks_with_zero_so_that_underflow_breaks_the_group_limit(self):
        gate = build("v2").model.layers[1].mlp.gate
        with torch.no_grad():
            gate.weight.zero_()[:, 0] = torch.tensor([0.0, -300, -1, -300, -200, -200, -200, -200])
            _, weights, experts = gate(torch.eye(1, 16))
        self.assertEqual(experts.max().item() > 3, True)
        self.assertEqual(weights[experts > 3].tolist(), [0.0] * int((experts > 3).sum()))

    def test_v3_normalises_before_it_scales(self):
        gate = build("v3", routed_scaling_factor=2.5).model.layers[1].mlp.gate
        with torch.no_grad():
            _, weights, _ = gate(torch.randn(20, 16, generator=torch.Generator().manual_seed(1)))
        self.assertTrue(torch.allclose(weights.sum(-1), torch.tensor(2.5)))

    def test_v3_bias_chooses_but_does_not_weigh(self):
        model = build("v3", norm_topk_prob=False, routed_scaling_factor=1.0)
        gate = model.model.layers[1].mlp.gate
        self.assertNotIn("e_score_correction_bias", dict(gate.named_parameters()))
        with torch.no_grad():
            rows, weights, experts = gate(torch.randn(20, 16, generator=torch.Generator().manual_seed(1)))
        self.assertTrue(torch.equal(weights, rows.sigmoid().gather(1, experts)))

    def test_yarn_scales(self):
        plain = 10**-0.5
        m = lambda scale: 0.1 * scale * math.log(4.0) + 1
        for scales, turned, softened in (
                ({}, m(1), 1), ({"mscale": 0.7}, m(1), 1), ({"mscale": 0.7, "mscale_all_dim": 0.0}, m(1), 1),
                ({"mscale_all_dim": 0.7}, m(1), m(0.7)**2), ({"mscale": 0.0, "mscale_all_dim": 0.7}, m(1), m(0.7)**2),
                ({"mscale": 0.7, "mscale_all_dim": 0.7}, 1, m(0.7)**2),
                ({"mscale": 1.0, "mscale_all_dim": 0.7}, m(1) / m(0.7), m(0.7)**2)):
            for family in ("v2", "v3"):
                model = build(family, **yarn(**scales)).model
                self.assertAlmostEqual(model.rotary_emb.attention_scaling, turned, places=12, msg=scales)
                self.assertAlmostEqual(model.layers[0].self_attn.scaling / plain, softened, places=12, msg=scales)

    def test_yarn_holds_at_every_length(self):
        short = IDS[:, :4]
        with torch.no_grad():
            one, other = build("v2")(short).logits, build("v2", **yarn())(short).logits
        self.assertGreater((one - other).abs().max(), 1e-3)

    def test_the_padding_token_gets_no_gradient(self):
        model = build("v2", pad_token_id=3)
        model(IDS, labels=IDS).loss.backward()
        self.assertEqual(model.model.embed_tokens.weight.grad[3].abs().max(), 0)
        self.assertGreater(model.model.embed_tokens.weight.grad[4].abs().max(), 0)

    def test_all_experts_implementations_compute_the_same(self):
        model = build("v2")
        found = []
        with torch.no_grad():
            for how in ("eager", "grouped_mm"):
                model.config._experts_implementation = how
                found.append(model(IDS).logits)
        self.assertLess((found[0] - found[1]).abs().max(), 1e-5)


class FilesTest(unittest.TestCase):

    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)

    def save(self, family="v2", **changes):
        build(family, **changes).save_pretrained(self.folder)
        return files.read_tensors(self.folder)

    def opened(self, **changes):
        """The configuration that transformers reads after a change of the file; a value of ... takes a key out."""
        changed = files.copy_directory(self.folder, self.folder / "changed", **changes)
        config = transformers.AutoConfig.from_pretrained(changed)
        for file in changed.iterdir():
            file.unlink()
        changed.rmdir()
        return config

    def test_files_hold_every_expert_by_itself(self):
        names = self.save().keys()
        self.assertIn("model.layers.1.mlp.experts.7.gate_proj.weight", names)
        self.assertFalse([name for name in names if "gate_up_proj" in name])

    def test_no_shared_expert_is_written_as_empty_tensors(self):
        tensors = self.save(n_shared_experts=0)
        self.assertEqual(list(tensors["model.layers.1.mlp.shared_experts.down_proj.weight"].shape), [16, 0])

    def test_fused_experts_are_read(self):
        self.save()
        files.save_fused(self.folder)
        model, report = oracle.load(self.folder)
        self.assertEqual([names for names in report.values() if names], [])
        self.assertLess((model(IDS).logits - logits("v2")).abs().max(), 1e-5)

    def test_what_was_read_fused_is_written_fused(self):
        self.save()
        files.save_fused(self.folder)
        oracle.load(self.folder)[0].save_pretrained(self.folder)
        self.assertIn("model.layers.1.mlp.experts.gate_up_proj", files.read_tensors(self.folder))

    def test_the_bias_stays_float32_in_a_bfloat16_file(self):
        self.save("v3")
        oracle.load(self.folder, dtype=torch.bfloat16)[0].save_pretrained(self.folder)
        kept = {name for name, tensor in files.read_tensors(self.folder).items() if tensor.dtype == torch.float32}
        self.assertEqual(kept, {"model.layers.1.mlp.gate.e_score_correction_bias"})

    def test_of_two_spellings_one_wins_silently(self):
        self.save()
        older = {"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 16}
        self.assertEqual(self.opened(rope_scaling=older).rope_parameters["factor"], 2.0)
        self.assertEqual(self.opened(rope_theta=500.0).rope_parameters["rope_theta"], 10000.0)
        self.assertEqual(self.opened(torch_dtype="bfloat16").dtype, torch.float32)

    def test_what_stands_for_absent_keys(self):
        self.save("v3")
        self.assertEqual(self.opened(num_nextn_predict_layers=...).num_nextn_predict_layers, 1)
        older = {"type": "yarn", "factor": 2.0}
        rope = self.opened(rope_scaling=older, rope_parameters=...).rope_parameters
        self.assertEqual((rope["original_max_position_embeddings"], rope["rope_theta"]), (64, 10000.0))
        self.assertEqual(json.loads((self.folder / "config.json").read_text())["dtype"], "float32")


if __name__ == "__main__":
    unittest.main()
