"""Wrong input: one message with the place, the numbers and a hint, exit code 2 on every rank, nothing written."""
import os
import pathlib
import re
import shutil
import subprocess
import unittest

from support import BINARY, CliTest, environment, files_below

LIMIT = 30  # seconds until the message must be there
# Stores each rank's own exit code, which mpirun does not show, and ends well.
KEEP_CODE = ("sh", "-c", '"$@"; echo $? > code-$OMPI_COMM_WORLD_RANK', "sh")

# Overrides that are refused together, one line each: {override: that line}.
UNREADABLE = {
    "model.n_routed_expert=8": "command line: .*n_routed_expert.*n_routed_experts",
    "modell.hidden_size=8": "command line: modell.*model",
    "model.hidden_size=wide": "command line: model.hidden_size: .*integer, not `wide`",
    "model.v_head_dim=2.5": "command line: model.v_head_dim: .*integer, not `2.5`",
    "model.kv_lora_rank=[8]": "command line: model.kv_lora_rank: ",
    "log.tensorboard=3": "command line: log.tensorboard.*3",
    "run.precision=fp8": "command line: run.precision: must be fp32 .*, not fp8",
    "model.num_hidden_layers=0": "command line: model.num_hidden_layers: must be 1 to 2\\^31, not 0",
    "optimizer.lr=-1": "command line: optimizer.lr: must be > 0.0, not -1",
    "optimizer.eps=nan": "command line: optimizer.eps.*nan",
    "drop.protected=1.5": "command line: drop.protected: must be 0.0 to 1.0, not 1.5",
    "batch.sequences=99999999999": "command line: batch.sequences.*99999999999",
    "run.name=../x": "command line: run.name.*\\.\\./x",
    "hidden_size": "command line: `hidden_size`.*section.key=value",
}
CONTRADICTORY = {
    "model.n_group=3": r"model.n_routed_experts \(8\) must be divisible by model.n_group \(3\)",
    "model.num_experts_per_tok=9": r"model.num_experts_per_tok \(9\) must not be larger than "
                                   r"model.n_routed_experts \(8\)",
    "model.topk_group=5": r"model.topk_group \(5\) must not be larger than model.n_group \(3\)",
    "parallel.expert=6": r"model.n_routed_experts \(8\) must be divisible by parallel.expert \(6\)",
    "batch.pool=5": r"parallel.expert \(6\) times batch.micro_sequences \(2\) must be divisible by "
                    r"batch.pool \(5\)",
    "schedule.warmup_steps=7": r"schedule.warmup_steps \(7\).*schedule.steps \(6\)",
    "parallel.pipeline=99": r"parallel.pipeline \(99\) times parallel.chunks \(1\) is more than",
    "balance.bias_rate=0.1": r"balance.bias_rate \(0.100000\).*noaux_tc",
    "model.qk_rope_head_dim=5": r"model.qk_rope_head_dim \(5\) must be even",
}
# Refused one by one.
ALONE = {
    "model.num_experts_per_tok=5": r"model.topk_group \(2\) groups of 2 experts hold 4, fewer than "
                                   r"model.num_experts_per_tok \(5\)",
    "parallel.expert=8": r"number of ranks \(1\) must be divisible by .* parallel.expert \(8\)",
    "schedule.steps=0 schedule.warmup_steps=0": r"schedule.steps \(0\) and schedule.tokens \(0\)",
    "model.vocab_size=258": r"model.vocab_size \(258\) must be at least 259",
    "data.train=[]": "data.train is empty",
    "data.tokenizer=none.json": "none.json",
    "data.train=[{path: none.jsonl}]": "none.jsonl: no such file or directory",
    "data.train=[{path: empty.jsonl}]": r"empty.jsonl: no text in it \(0 documents, 0 bytes\)",
    "data.train=[{path: blank.jsonl}]": r"blank.jsonl: no text in it \(1 documents, 0 bytes\)",
    "data.train=[{path: broken.jsonl}]": "broken.jsonl:2: ",
    "data.train=[{path: not_utf8.jsonl}]": "not_utf8.jsonl:2: .*UTF-8",
    "data.train=[{path: no_text.jsonl}]": "no_text.jsonl:2: .*text",
    "data.train=[{path: short.txt}]": "short.txt: .*32",
    "model.init_from=none": "none: no model here",
    "run.device=cuda": "run.device: cuda",
    "model.preset=models/none": "models/none",
    "run.resume=none": "none",
    "run.directory=short.txt": "short.txt",
}
CORPORA = {
    "empty.jsonl": b"", "blank.jsonl": b'{"text": ""}\n', "short.txt": b"too short",
    "broken.jsonl": b'{"text": "good"}\n{"text": "bad\n', "no_text.jsonl": b'{"text": "good"}\n{"body": "x"}\n',
    "not_utf8.jsonl": b'{"text": "good"}\n{"text": "\xff\xfe"}\n',
}


def overrides(text):
    """Several overrides stand with a space between them; a space within one comes after `:` or `,`."""
    return re.split(r"(?<![:,]) ", text)


def written(folder):
    """All files but logs, to which messages are added."""
    return {name: content for name, content in files_below(folder).items() if not name.endswith("log.txt")}


class BadInputTest(CliTest):

    def setUp(self):
        super().setUp()
        for name, content in CORPORA.items():
            (self.folder / name).write_bytes(content)
        self.config = self.write_config()

    def check_message(self, text, expected):
        lines = text.splitlines()
        self.assertEqual(sum(line.startswith("error: ") for line in lines), 1, text)
        self.assertEqual(sum(line.startswith("hint: ") for line in lines), 1, text)
        self.assertRegex(text, f"(?s)error: .*{expected}")

    def refuse(self, expected, *arguments, **options):
        before = written(self.folder)
        result = self.dsmoe(*arguments, timeout=LIMIT, **options)
        self.assertEqual(result.code, 2, result)
        self.check_message(result.err, expected)
        self.assertEqual(written(self.folder), before)
        return result

    def test_ranks_of_different_builds_are_refused(self):
        other = self.folder / "dsmoe"
        other.write_bytes(pathlib.Path(BINARY).read_bytes() + b" ")
        other.chmod(0o755)
        command = self.command("train", self.config, ranks=1)
        done = self.refuse_together([*command, ":", "-np", "1", str(other), "train", str(self.config)])
        self.assertRegex(done.stderr, r"error: rank 1 on \S+ has another program file than rank 0 on \S+: \w{32}, \w{32}")
        self.assertIn("hint: start the same build", done.stderr)

    def refuse_together(self, command):
        done = subprocess.run(command, cwd=self.folder, env=environment(), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=LIMIT, check=False)
        self.assertEqual(done.returncode, 2, done)
        self.assertFalse((self.folder / "runs").exists())
        return done

    def test_ranks_with_other_arguments_are_refused(self):
        command = self.command("train", self.config, "optimizer.lr=0.1", ranks=1)
        done = self.refuse_together([*command, ":", "-np", "1", BINARY, "train", str(self.config), "optimizer.lr=0.2"])
        self.assertRegex(done.stderr, r"error: rank 1 on \S+ has another list of arguments than rank 0 on \S+: "
                                      r"train \S+ optimizer.lr=0.2 *, train \S+ optimizer.lr=0.1 *\n")

    def test_ranks_whose_hosts_have_other_files_are_refused(self):
        elsewhere = self.folder / "elsewhere"
        shutil.copytree(self.folder / "corpus", elsewhere / "corpus")
        text = pathlib.Path(self.config).read_text()
        (elsewhere / "run.yaml").write_text(text + "# edited\n")
        (self.folder / "run.yaml").write_text(text)
        command = self.command("train", "run.yaml", ranks=1)
        done = self.refuse_together([*command, ":", "-np", "1", "-wdir", str(elsewhere), BINARY, "train", "run.yaml"])
        self.assertRegex(done.stderr, r"error: rank 1 on \S+ finds another run.yaml than rank 0 on \S+\n")
        (elsewhere / "run.yaml").unlink()  # rank 0's is enough
        done = subprocess.run([*command, "schedule.steps=2", ":", "-np", "1", "-wdir", str(elsewhere), BINARY, "train",
                               "run.yaml", "schedule.steps=2"], cwd=self.folder, env=environment(),
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False)
        self.assertEqual(done.returncode, 0, done)

    def test_ranks_with_other_libraries_are_refused(self):
        linked = subprocess.run(["ldd", BINARY], capture_output=True, text=True, check=True).stdout
        library = pathlib.Path(re.search(r"libgomp\.so\.1 => (\S+)", linked).group(1))
        content = bytearray(library.read_bytes())
        content[content.index(b"GNU\0", content.index(b"\x14\0\0\0\x03\0\0\0GNU\0")) + 4] ^= 1  # of its build id
        (self.folder / "libgomp.so.1").write_bytes(content)
        command = self.command("train", self.config, ranks=1)
        done = self.refuse_together([*command, ":", "-np", "1", "env", f"LD_PRELOAD={self.folder}/libgomp.so.1", BINARY,
                                     "train", str(self.config)])
        self.assertRegex(done.stderr, r"error: rank 1 on \S+ has another build of libgomp\.so\.1 than rank 0 on \S+: "
                                      r"\w{40}, \w{40}")

    def refuse_on_ranks(self, expected, *arguments, ranks=2):
        before = written(self.folder)
        result = self.dsmoe(*arguments, ranks=ranks, wrapper=KEEP_CODE, timeout=LIMIT)
        self.check_message(result.err, expected)
        for rank in range(ranks):
            path = self.folder / f"code-{rank}"
            self.assertEqual(path.read_text(), "2\n", result)
            path.unlink()
        self.assertEqual(written(self.folder), before)

    def test_a_wrong_setting_is_named_with_its_value_and_limit(self):
        for override, expected in ALONE.items():
            with self.subTest(override):
                self.refuse(expected, "train", self.config, *overrides(override))

    def test_all_wrong_settings_are_shown_together(self):
        for together in (UNREADABLE, CONTRADICTORY):
            text = self.refuse(f"{len(together)} errors", "train", self.config, *together).err
            for override, expected in together.items():
                with self.subTest(override):
                    self.assertRegex(text, f"(?m)^{expected}")

    def test_every_rank_ends_with_one_message_among_them(self):
        cases = {"model.n_group=3": "model.n_group", "modell.hidden_size=8": "modell",
                 "parallel.expert=8": r"number of ranks \(2\) must be divisible by .*parallel.expert \(8\)",
                 "data.train=[{path: none.jsonl}]": "none.jsonl: no such file",
                 "data.eval=[{path: broken.jsonl, name: x}]": "broken.jsonl:2: ",
                 "run.resume=none": "none", "run.directory=short.txt": "short.txt",
                 "model.init_from=none": "none: no model here", "run.device=cuda": "run.device: cuda"}
        for override, expected in cases.items():
            with self.subTest(override):
                self.refuse_on_ranks(expected, "train", self.config, override)
        self.assertEqual(self.dsmoe("train", self.config, "model.n_group=3", ranks=2).code, 2)

    def write_yaml(self, *lines):
        path = self.folder / "wrong.yaml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def test_a_wrong_line_of_the_file_is_named(self):
        good = "run: {name: x}"
        cases = {("run:", "  name: a", "  nam: b"): "wrong.yaml:3: run.nam.*name",
                 ("run:", "  name: a", "  name: b"): "wrong.yaml:3: .*name",
                 (good, "batch: {sequences: many}"): "wrong.yaml:2: batch.sequences.*many",
                 (good, "", "drop: {capacity: 0}"): "wrong.yaml:3: drop.capacity.*0",
                 (good, "batch: ["): "wrong.yaml:[23]: ",
                 (good, "model:", "\thidden_size: 3"): "wrong.yaml:3: "}
        for lines, expected in cases.items():
            with self.subTest(lines):
                self.refuse(expected, "train", self.write_yaml(*lines))

    def test_a_missing_or_unreadable_file_is_named(self):
        self.refuse("none.yaml", "train", "none.yaml")
        self.refuse("corpus", "train", "corpus")
        self.refuse("none: no model here", "eval", "--model", "none", "--data", "corpus/b.txt")
        self.refuse("none.yaml", "inspect", "none.yaml")

    def test_wrong_arguments_end_with_the_same_code(self):
        for arguments in (["trian"], [], ["train"], ["eval", "--model", "x"], ["train", "--no-such-option"],
                          ["bench", "jump", self.config], ["generate", "--model", "x", "--max-tokens", "few"]):
            with self.subTest(arguments):
                result = self.dsmoe(*arguments, timeout=LIMIT)
                self.assertEqual(result.code, 2, result)
                self.assertNotEqual(result.err, "")

    def test_a_damaged_model_is_named_and_not_used(self):
        step = self.train("run", "schedule.steps=2") / "checkpoints/step-00000002"
        weights = step / "model/model.safetensors"
        whole = weights.read_bytes()
        weights.write_bytes(whole[:-50])
        evaluate = ["eval", "--data", "corpus/held.jsonl", "--model"]
        self.refuse("model.safetensors: ", *evaluate, step)
        self.refuse_on_ranks("model.safetensors: ", *evaluate, step / "model")
        self.refuse("model.safetensors", "train", self.config, f"run.resume={step}", "run.name=new")
        self.refuse("model.safetensors", "train", self.config, f"model.init_from={step}", "run.name=new")
        weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        self.refuse("model.safetensors.*is damaged", *evaluate, step)
        self.refuse("is damaged", "train", self.config, f"model.init_from={step}", "run.name=new")
        weights.unlink()
        self.refuse("model", *evaluate, step)
        weights.write_bytes(whole)
        self.refuse(r"misshapen .*\[32,32\].*\[64,32\]|misshapen", "train", self.config, "run.name=new",
                    f"model.init_from={step}", "model.num_attention_heads=4")
        (step / "model/config.json").write_text("{")
        self.refuse("config.json", *evaluate, step)

    def test_what_stands_in_the_way_of_a_file_is_named(self):
        self.refuse("short.txt", "train", self.config, "run.directory=short.txt/runs")
        (self.folder / "runs/tiny/metrics.jsonl").mkdir(parents=True)
        result = self.dsmoe("train", self.config, timeout=LIMIT)
        self.assertEqual(result.code, 2, result)
        self.check_message(result.err, "metrics.jsonl")

    def test_without_the_right_to_write_nothing_is_trained(self):
        self.folder.chmod(0o755)
        (self.folder / "locked").mkdir(mode=0o555)
        # The superuser may write everywhere: be nobody.
        user = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
        try:
            self.succeed("inspect", self.config, **user)
        except PermissionError as error:
            self.skipTest(f"nobody may not run the program: {error}")
        self.refuse("locked.*Permission denied", "train", self.config, "run.directory=locked", **user)

    def test_a_prompt_must_be_given_and_within_the_vocabulary(self):
        model = self.train("run", "schedule.steps=2") / "checkpoints/step-00000002"
        self.refuse("nothing to continue", "generate", "--model", model)
        self.refuse("259.*vocabulary of 259", "generate", "--model", model, "--token-ids", "1,259")

    def test_input_that_only_looks_wrong_works(self):
        (self.folder / "odd.txt").write_bytes(bytes(range(256)) * 40)  # one long document, not UTF-8
        self.succeed("train", self.config, "data.train=[{path: odd.txt}]", "data.eval=[{path: odd.txt}]",
                     "schedule.steps=2")


if __name__ == "__main__":
    unittest.main()
