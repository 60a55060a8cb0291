"""scripts/render-chat against transformers' apply_chat_template on a made-up tokenizer, and what it refuses."""

import contextlib
import importlib.machinery
import importlib.util
import io
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHATML = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}<|im_start|>assistant\n"
    "{% generation %}{{ message['content'] }}<|im_end|>{% endgeneration %}{{ '\\n' }}"
    "{% else %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endif %}{% endfor %}")
SCRIPT = ROOT / "scripts/render-chat"
PLAIN = CHATML.replace("{% generation %}", "").replace("{% endgeneration %}", "")
WORDS = ("what is a casualty ? na\u00efve \u4f60\u597d def f(x): \U0001f600 <|im_end|> 'quoted' \"twice\" {{ a }} "
         "two  blanks").split(" ")
ASKED = {"role": "user", "content": "Hi"}
TOLD = {"role": "assistant", "content": "Hello"}


def load_script():
    """As a module, so that not each case starts transformers anew."""
    loader = importlib.machinery.SourceFileLoader("render_chat", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("render_chat", loader))
    loader.exec_module(module)
    return module


render_chat = load_script()


def make_tokenizer(folder, template):
    """A byte-level BPE of few merges, saved with the template in tokenizer_config.json."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([" ".join(WORDS)] * 3, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>",
                                   additional_special_tokens=special[2:])
    fast.chat_template = template
    fast.save_pretrained(folder, save_jinja_files=False)
    return fast


def conversation(dice):
    def said():
        return " ".join(dice.choices(WORDS, k=dice.randint(1, 9)))
    system = [{"role": "system", "content": said()}] if dice.random() < 0.3 else []
    pairs = ([{"role": "user", "content": said()}, {"role": "assistant", "content": said()}]
             for _ in range(dice.randint(1, 3)))
    return system + [message for pair in pairs for message in pair]


class RenderTest(unittest.TestCase):

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="dsmoe-render-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.tokenizer = make_tokenizer(self.folder / "tokenizer", CHATML)

    def use(self, template, **changes):
        """Puts another template into tokenizer_config.json."""
        path = self.folder / "tokenizer/tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template} | changes))

    def run_on(self, content, name="in.jsonl"):
        (self.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        arguments = ["tokenizer", name, "out.jsonl"]
        with (contextlib.chdir(self.folder), unittest.mock.patch.object(sys, "argv", [str(SCRIPT), *arguments]),
              contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err):
            code = render_chat.errors.exit_code_of(render_chat.run)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    def render(self, rows, name="in.jsonl"):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        content = json.dumps(rows, indent=1) if name.endswith(".json") else lines
        result = self.run_on(content, name)
        self.assertEqual(result.returncode, 0, result)
        return [json.loads(line) for line in (self.folder / "out.jsonl").read_text().split("\n")[:-1]]

    def refused(self, content, *words, name="in.jsonl"):
        result = self.run_on(content, name)
        self.assertEqual(result.returncode, 2, result)
        for word in (*words, "\nhint: "):
            self.assertIn(word, result.stderr)
        self.assertFalse(list(self.folder.glob("out.jsonl*")))


class OracleTest(RenderTest):

    def mask(self, segments):
        """The ids of the whole text, and 1 for each token of a segment that is learned."""
        text, learned = "".join(part["text"] for part in segments), []
        for part in segments:
            learned += [part["weight"]] * len(part["text"])
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return encoded["input_ids"], [learned[first] for first, _ in encoded["offset_mapping"]]

    def test_text_and_learned_tokens_are_those_of_transformers(self):
        dice = random.Random(1)
        conversations = [conversation(dice) for _ in range(100)]
        rows = self.render([{"messages": messages} for messages in conversations])
        self.assertEqual(len(rows), len(conversations))
        for row, messages in zip(rows, conversations):
            text = self.tokenizer.apply_chat_template(messages, tokenize=False)
            self.assertEqual("".join(part["text"] for part in row["segments"]), text)
            expected = self.tokenizer.apply_chat_template(
                messages, return_dict=True, return_assistant_tokens_mask=True)
            ids, learned = self.mask(row["segments"])
            self.assertEqual(ids, expected["input_ids"])
            self.assertEqual(learned, expected["assistant_masks"])
            self.assertIn(1, learned)

    def test_segments_are_cut_where_the_assistant_begins_and_ends(self):
        (row,) = self.render([{"messages": [ASKED, TOLD, ASKED, TOLD], "domain": "talk"}])
        question = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
        self.assertEqual(row, {"domain": "talk", "segments": [
            {"text": "<s>" + question, "weight": 0}, {"text": "Hello<|im_end|>", "weight": 1},
            {"text": "\n" + question, "weight": 0}, {"text": "Hello<|im_end|>", "weight": 1},
            {"text": "\n", "weight": 0}]})

    def test_a_template_beside_the_configuration_goes_first(self):
        (self.folder / "tokenizer/chat_template.jinja").write_text(CHATML.replace("im_start", "begin"))
        self.assertIn("<|begin|>", self.render([{"messages": [ASKED, TOLD]}])[0]["segments"][0]["text"])
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(self.folder / "tokenizer")
        self.test_text_and_learned_tokens_are_those_of_transformers()

    def test_special_tokens_may_be_written_in_any_way_that_transformers_reads(self):
        for token, text in (({"content": "<s>", "__type": "AddedToken"}, "<s>"), ("<s>", "<s>"), (None, "")):
            self.use(CHATML, bos_token=token)
            first = self.render([{"messages": [ASKED, TOLD]}])[0]["segments"][0]["text"]
            self.assertEqual(first, text + "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")


class ShapeTest(RenderTest):

    def test_the_three_shapes_give_the_same(self):
        system = {"role": "system", "content": "Be kind."}
        messages = {"messages": [system, {"role": "user", "content": "A"}, {"role": "assistant", "content": "B"},
                                 {"role": "user", "content": "C\nD"}, TOLD]}
        alpaca = {"instruction": "C", "input": "D", "output": "Hello", "system": "Be kind.", "history": [["A", "B"]]}
        turns = [("human", "A"), ("gpt", "B"), ("human", "C\nD"), ("gpt", "Hello")]
        sharegpt = [{"from": name, "value": value} for name, value in (("system", "Be kind."), *turns)]
        rows = [messages, alpaca, {"conversations": sharegpt}, {"conversations": sharegpt[1:], "system": "Be kind."}]
        for name in ("in.jsonl", "in.json"):
            first, *others = self.render(rows, name)
            self.assertEqual(others, [first] * 3)
        (short,) = self.render([{"instruction": "Hi", "input": "", "output": "Hello"}])
        self.assertEqual([short], self.render([{"messages": [ASKED, TOLD]}]))

    def test_a_weight_multiplies_the_segment_of_its_message(self):
        asked = ASKED | {"weight": 3}
        (row,) = self.render([{"messages": [asked, TOLD | {"weight": 0}, asked, TOLD | {"weight": 0.5}, asked, TOLD]}])
        self.assertEqual([part["weight"] for part in row["segments"]], [0, 0, 0, 0.5, 0, 1, 0])
        (row,) = self.render([{"conversations": [{"from": "human", "value": "Hi"},
                                                 {"from": "gpt", "value": "Hello", "weight": 2}]}])
        self.assertEqual([part["weight"] for part in row["segments"]], [0, 2, 0])

    def test_what_a_message_holds_besides_reaches_the_template(self):
        self.use(CHATML.replace("{{ message['content'] }}<|im_end|>{% endg", "{{ message['thought'] }}{% endg"))
        (row,) = self.render([{"messages": [ASKED, TOLD | {"thought": "hm"}]}])
        self.assertEqual(row["segments"][1], {"text": "hm", "weight": 1})


class ProgramTest(RenderTest):

    def test_the_script_exits_with_0_or_2(self):
        for row, code in (({"messages": [ASKED, TOLD]}, 0), ({"messages": [ASKED]}, 2)):
            (self.folder / "in.jsonl").write_text(json.dumps(row))
            done = subprocess.run([SCRIPT, "tokenizer", "in.jsonl", "out.jsonl"], cwd=self.folder, text=True,
                                  capture_output=True, check=False)
            self.assertEqual(done.returncode, code, done)
            self.assertIn("hint: " if code else "1 conversations", done.stderr if code else done.stdout)


class RefusalTest(RenderTest):
    GOOD = json.dumps({"messages": [ASKED, TOLD]}) + "\n"

    def test_a_row_that_cannot_be_read_is_named(self):
        for row, word in (("{", "not JSON"), ("[1]", "list, not an object"), ('{"text": "a"}', "no `messages`"),
                          ('{"messages": []}', "an empty conversation"), ('{"messages": {}}', "not a list"),
                          (json.dumps({"messages": [ASKED]}), "no turn of the assistant"),
                          (json.dumps({"messages": [TOLD | {"role": "tool"}]}), "unknown role 'tool'"),
                          (json.dumps({"messages": [TOLD | {"role": ["user"]}]}), "unknown role ['user']"),
                          (json.dumps({"messages": [ASKED, {"role": "assistant"}]}), "a string `content`"),
                          ('{"conversations": [{"from": "ape", "value": "a"}]}', "unknown role 'ape'"),
                          ('{"instruction": "a"}', "no string `output`"),
                          ('{"instruction": "a", "output": "b", "history": ["c"]}', "`history` is not a list"),
                          ('{"instruction": 1, "output": "b"}', "`instruction` is int"),
                          (json.dumps({"messages": [ASKED, TOLD], "tools": [1]}), "`tools`"),
                          ('{"messages": [{"role": "assistant", "content": "\\ud800"}]}', "surrogate")):
            self.refused(self.GOOD + "\n" + row + "\n" + self.GOOD, "in.jsonl:3: ", word)
        for weight in ("-1", "true", '"1"', "NaN", "Infinity", "null"):
            message = f'{{"role": "assistant", "content": "a", "weight": {weight}}}'
            self.refused(f'{{"messages": [{message}]}}', "in.jsonl:1: weight")
        self.refused(b'{"messages": "\xff"}', "in.jsonl:1: not UTF-8")
        self.refused("\n", "no conversations")

    def test_a_row_of_an_array_is_named_by_its_line(self):
        good = self.GOOD.strip()
        self.refused(f'[\n{good},\n\n{{"messages": []}}]', "in.json:4: an empty conversation", name="in.json")
        self.refused(f"[\n{good},\n {{]", "in.json:3: not JSON", name="in.json")
        self.refused(f"[\n{good}\n\n{good}]", "in.json:4: no comma", name="in.json")
        self.refused(f"[\n{good},", "in.json:2: not JSON", name="in.json")
        self.refused("[]", "no conversations", name="in.json")

    def test_a_template_without_marks_is_refused_with_an_example(self):
        self.use(PLAIN)
        self.refused(self.GOOD, "tokenizer/tokenizer_config.json: ", "{% generation %}", "{% endgeneration %}")
        (self.folder / "tokenizer/chat_template.jinja").write_text(PLAIN)
        self.refused(self.GOOD, "tokenizer/chat_template.jinja: ", "{% generation %}")

    def test_marks_whose_place_the_renderer_mistakes_are_refused(self):
        mark = "{% generation %}{{ messages[0].content }}{% endgeneration %}"
        for before, after in (("{% macro m() %}", "{% endmacro %}{{ m() }}"), ("{% set a %}", "{% endset %}{{ a }}"),
                              ("{% generation %}", "{% endgeneration %}"), ("{% filter trim %}-", "{% endfilter %}"),
                              ("{% for m in messages recursive %}{% if m %}", "{% endif %}{% endfor %}")):
            self.use(before + mark + after)
            self.refused(self.GOOD, "line 1 of the template", "rendered apart")

    def test_templates_that_fail_are_refused(self):
        for template, word in (("{% generation %}", "line 1 of the template"), (None, "no chat_template"),
                               (CHATML + "{{ raise_exception('never twice') }}", "in.jsonl:1: the chat"),
                               (CHATML + "{{ 1 + 'a' }}", "in.jsonl:1: the chat"),
                               ("{% if false %}{% generation %}{% endgeneration %}{% endif %}a", "marks nothing")):
            self.use(template)
            self.refused(self.GOOD, word)
        (self.folder / "tokenizer/tokenizer_config.json").write_text("{")
        self.refused(self.GOOD, "tokenizer_config.json: not JSON")

    def test_a_special_token_that_nothing_names_is_refused(self):
        (self.folder / "tokenizer/tokenizer_config.json").write_text(json.dumps({"chat_template": CHATML}))
        self.refused(self.GOOD, "bos_token")

    def test_weights_that_cannot_be_assigned_are_refused(self):
        twice = CHATML.replace("{% generation %}", "{% generation %}-{% endgeneration %}{% generation %}")
        self.use(twice)
        self.assertEqual(len(self.render([{"messages": [ASKED, TOLD]}])[0]["segments"]), 4)
        (self.folder / "out.jsonl").unlink()
        self.refused(json.dumps({"messages": [ASKED, TOLD | {"weight": 0}]}), "in.jsonl:1: ", "2 spans")

    def test_what_was_written_before_stays_when_a_row_is_refused(self):
        self.render([{"messages": [ASKED, TOLD]}])
        before = (self.folder / "out.jsonl").read_bytes()
        self.assertEqual(self.run_on(self.GOOD + "{").returncode, 2)
        self.assertEqual((self.folder / "out.jsonl").read_bytes(), before)
        self.assertFalse(list(self.folder.glob("*.partial")))


if __name__ == "__main__":
    unittest.main()
