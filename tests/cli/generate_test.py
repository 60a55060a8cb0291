"""generate and chat from a trained checkpoint: prompts, batches, ranks, stop strings, what is refused."""
import json
import unittest

from support import CliTest

STEP = "checkpoints/step-00000006"


class GenerateTest(CliTest):

    def setUp(self):
        super().setUp()
        self.model = self.train("tiny", "run.precision=fp32") / STEP

    def generate(self, *arguments, **options):
        return self.succeed("generate", "--model", self.model, "--json", *arguments, **options).json()

    def test_a_batch_gives_each_prompt_what_it_gets_alone_on_any_ranks(self):
        prompts = ["The river", "A", "Old letters carried"]
        (self.folder / "prompts.txt").write_text("\n".join(prompts) + "\n\n")
        sampling = ["--max-tokens", "24", "--temperature", "0.9", "--top-p", "0.9", "--top-k", "40", "--seed", "3"]
        for options in (["--max-tokens", "24"], sampling):
            batch = self.generate("--prompts", "prompts.txt", *options)["results"]
            self.assertEqual(len(batch), 3)
            self.assertEqual(batch[0], self.generate("--prompt", prompts[0], *options))
            for ranks in (2, 4):
                self.assertEqual(self.generate("--prompts", "prompts.txt", *options, ranks=ranks)["results"], batch)

    def test_the_cache_has_the_bytes_of_the_census(self):
        found = self.generate("--token-ids", "256,65,66", "--max-tokens", "5")
        census = self.succeed("inspect", self.model, "--json").json()["kv_cache"]["bytes_per_token"]
        fed = 3 + len(found["token_ids"]) - (1 if found["finish_reason"] == "length" else 0)
        self.assertEqual(found["cache_bytes"], fed * census)

    def test_a_stop_string_ends_the_text_before_it(self):
        text = self.generate("--prompt", "The", "--max-tokens", "40")["text"]
        self.assertGreater(len(text), 8)
        stop = text[5:7]
        cut = self.generate("--prompt", "The", "--max-tokens", "40", "--stop", stop)
        self.assertEqual(cut["text"], text[:text.index(stop)])
        self.assertEqual(cut["finish_reason"], "stop")

    def test_a_text_ends_at_the_last_position(self):
        found = self.generate("--token-ids", ",".join(["65"] * 120), "--max-tokens", "50")
        self.assertLessEqual(len(found["token_ids"]), 9)
        self.refuse("120 tokens|128 tokens leave no room", "--token-ids", ",".join(["65"] * 128))

    def refuse(self, pattern, *arguments):
        result = self.dsmoe("generate", "--model", self.model, *arguments)
        self.assertEqual(result.code, 2, result)
        self.assertRegex(result.err, pattern)
        self.assertIn("hint:", result.err)

    def test_what_is_refused(self):
        self.refuse("nothing to continue")
        both = self.dsmoe("generate", "--model", self.model, "--prompts", "p", "--token-ids", "1")
        self.assertEqual(both.code, 2, both)
        self.assertIn("--prompts excludes --token-ids", both.err)
        self.refuse("no prompt in it", "--prompts", self.write("empty.txt", "\n\n"))
        self.refuse("is not in the vocabulary", "--token-ids", "259")
        self.refuse("--stop: an empty text", "--prompt", "a", "--stop", "")

    def write(self, name, text):
        (self.folder / name).write_text(text)
        return name

    def test_a_model_without_a_tokenizer_takes_ids_alone(self):
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (self.model / "model" / name).unlink()
        (self.model / "manifest.json").unlink()
        found = self.generate("--token-ids", "256,65", "--max-tokens", "3")
        self.assertEqual(found["text"], "")
        self.assertGreater(len(found["token_ids"]), 0)
        self.refuse("has no tokenizer.json", "--prompt", "a")

    def chat(self, lines, *arguments, ranks=0):
        import subprocess

        import support
        done = subprocess.run(self.command("chat", "--model", self.model, *arguments, ranks=ranks), cwd=self.folder,
                              env=support.environment(), input="".join(line + "\n" for line in lines),
                              capture_output=True, text=True, errors="replace", timeout=support.LIMIT)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_chat_answers_each_turn_as_the_template_asks(self):
        options = ["--temperature", "0", "--max-tokens", "12", "--json"]
        turns = json.loads(self.chat(["Hello", "And"], *options))["turns"]
        self.assertEqual([turn["user"] for turn in turns], ["Hello", "And"])
        first = self.generate("--prompt", "User: Hello\n\nAssistant:", "--max-tokens", "12")
        self.assertEqual(turns[0]["assistant"], first["text"])
        ids = [256, *b"User: Hello\n\nAssistant:", *first["token_ids"], 257, *b"User: And\n\nAssistant:"]
        second = self.generate("--token-ids", ",".join(map(str, ids)), "--max-tokens", "12")
        self.assertEqual(turns[1]["assistant"], second["text"])
        self.assertEqual(json.loads(self.chat(["Hello", "And"], *options, ranks=2))["turns"], turns)


if __name__ == "__main__":
    unittest.main()
