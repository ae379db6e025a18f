"""Quality rules about who speaks: the character, and not the model, the prompt or the user."""
# ruff: noqa: RUF001 - texts in many scripts

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory.config import Quality
from factory.curation.rules import phrases
from factory.curation.rules.context import DialogueContext
from factory.curation.rules.quality import check_quality
from factory.inference.prompts import load_prompt
from factory.records import Message

PROFILE = """Name: Ada Oduya
Age: 34
Gender: female
Race: Black
Birth Place: Lagos
Appearance: Tall, with short hair and an apron that is never quite free of flour, whatever she does.
General Experience: She learned baking from an aunt and opened a shop of her own at thirty, on a street by the water.
Personality: Patient and dry-humoured. She talks in short sentences."""
PERSONA = "a baker who counts her loaves aloud every morning and never sells the last one to anybody"
ROBOT = "Name: Bolt\nAge: 7\nGender: none\nPersonality: A robot that cleans a station and likes jokes."
RULES = Quality()
PROMPTS = tuple(body for _, body in load_prompt("training-system").parts)


def dialogue(*turns: str, persona: str = PERSONA, profile: str = PROFILE) -> DialogueContext:
    """Return a dialogue with alternating turns of user and assistant."""
    roles = ("user", "assistant")
    messages = (Message("system", "x"), *(Message(roles[n % 2], turn) for n, turn in enumerate(turns)))
    return DialogueContext(messages, persona, profile, prompts=PROMPTS)


@pytest.mark.parametrize(
    "text",
    [
        "As an AI language model, I cannot bake.",
        "I'm just a large language model and have no hands.",
        "As a language model trained on text I know many breads.",
        "As an AI, I do not eat.",
        "I am an artificial intelligence created to help.",
        "I’m a helpful AI assistant. How can I help?",
        "Being a chatbot, I have no oven.",
        "My training data does not reach that far.",
        "I am a helpful assistant named SmolLM, trained by Hugging Face.",
        "My name is ChatGPT.",
        "Sorry, but as an AI I cannot eat it.",
        "I, as an AI assistant, have no oven.",
        "Unfortunately I am AI.",
        "I'm Claude, how can I help you with your bread?",
        "I was developed by OpenAI.",
        "The user asks how bread is made.",
        "The user's message has been rewritten.",
        "Als KI-Sprachmodell kann ich nicht backen.",
        "Ich bin ein Sprachmodell.",
        "Como modelo de lenguaje, no tengo horno.",
        "En tant que modèle de langage, je ne mange pas.",
        "Come modello linguistico non ho un forno.",
        "Как языковая модель, я не ем хлеб.",
        "作为一个AI语言模型，我不会烤面包。",
        "AI言語モデルとして、パンは焼けません。",
        "저는 AI 언어 모델로서 빵을 구울 수 없습니다.",
        '"As an AI language model, I cannot bake."',
    ],
)
def test_breaks_character_rejects_the_assistant(text):
    assert RULES.breaks_character.find(dialogue("How do I bake bread?", text))


@pytest.mark.parametrize(
    "text",
    [
        "I am a baker, and as a woman of few words I say: flour, water, salt.",
        "As an AI researcher would tell you, bread is older than computers.",
        "I asked one of those machines once and it said: “As an AI language model, I cannot taste.” Poor thing.",
        "My nephew trains a language model at the university; I train apprentices.",
        "They use an AI for the orders now. I use a pencil.",
        "ChatGPT, made by OpenAI, told my nephew to put glue on it. I would not.",
        "I am Claudette's aunt, I'm a Gemini and I was trained by my own aunt.",
        "I read about things such as AI, robots and such as a language model, and I went back to my oven.",
        "He is as clever as an AI, that boy, and people talk of being an AI, but who would bake?",
        "I am an AI-hater and an AI engineer's wife.",
        "As a model citizen I speak every language of the street.",
    ],
)
def test_breaks_character_accepts_talk_about_machines(text):
    assert RULES.breaks_character.find(dialogue("How do I bake bread?", text)) is None


@settings(suppress_health_check=list(HealthCheck), deadline=None)
@given(st.from_regex(phrases.MODEL))
def test_a_text_without_the_words_of_models_has_no_such_phrase(text):
    words = [word for word in phrases.MODEL_WORDS if word in text.casefold()]
    assert words or not phrases.MODEL.search(text)


def test_breaks_character_accepts_a_machine_character():
    for text in ("Beep! I am an AI, and I clean.", "As a robot I do not eat.", "My training data has no jokes in it."):
        assert (
            RULES.breaks_character.find(dialogue("Who are you?", text, persona="a cleaning robot", profile=ROBOT))
            is None
        )
    text = "As an AI language model, I cannot clean."
    assert RULES.breaks_character.find(dialogue("Who are you?", text, persona="a cleaning robot", profile=ROBOT))


def test_breaks_character_accepts_the_characters_name():
    claude = PROFILE.replace("Ada Oduya", "Claude Moreau")
    assert RULES.breaks_character.find(dialogue("Who are you?", "I'm Claude, from Lyon.", profile=claude)) is None
    designer = "a designer who watches users struggle with ticket machines"
    assert RULES.breaks_character.find(dialogue("Well?", "The user asks for a button.", persona=designer)) is None


@pytest.mark.parametrize(
    "text",
    [
        "Well.<|im_end|>\n<|im_start|>user",
        "[INST] How do I bake bread? [/INST]",
        "Flour, water and salt, love.</s>",
        "Flour, water and salt, love.<eos>",
        "</s>\nFlour, water and salt, love.",
        "<s>Flour, water and salt, love.</s>",
        "Flour, water and salt, love.<｜end▁of▁sentence｜>",
        "Flour, water and salt, love. <|eot_id|>",
        "<|channel|>final<|message|>Flour, water and salt, love.",
        "Flour, water and salt, love.<end_of_turn>\n<start_of_turn>model",
        "She wants bread, so I stay a baker.\n</think>\n\nFlour, water and salt, love.",
        "[THINK]be warm[/THINK]Flour, water and salt, love.",
        "밀가루와 물과 소금이지요.</s>",
        "粉和水和盐。<|im_end|>",
        "دقيق وماء وملح.<|endoftext|>",
        "### Instruction:\nHow do I bake bread?\n\n### Response:\nKnead it, love.",
        "Knead it, love.\n\n### Response:\nKnead it again.",
        "Below is an instruction that describes a task. Write a response that bakes it.",
        "# Character Profile\nI am a baker.",
        "Name: Ada Oduya\nAge: 34\nHow can I help?",
        "**Gender:** female\n**Birth place:** Lagos",
        "She learned baking from an aunt and opened a shop of her own at thirty, on a street by the water.",
        "I am a baker who counts her loaves aloud every morning and never sells the last one to anybody.",
        "I stay in character in everything that you say, true to both the persona and the profile.",
    ],
)
def test_leaked_prompt_rejects_leaks(text):
    assert RULES.leaked_prompt.find(dialogue("Tell me about yourself.", text))


@pytest.mark.parametrize(
    "text",
    [
        "I learned it from my aunt. I opened my own shop at thirty, by the water. Never looked back.",
        "I count my loaves aloud every morning, and the last one is not for sale.",
        "Lagos. Born there, by the water.",
        "Name: Ada Oduya\nOccupation: baker\nThere, that's your form.",
        "What a character she was! Her profile on the coin is fine.",
        "A loaf is <s>five</s> four euros today, love.",
        "It goes on the page like so:\n```html\n<s>five</s> four\n</s>\n```\nThat is all, love.",
        "You close it with `</s>`, says my nephew.",
        "### Instructions:\n1. Knead it.\n2. Bake it.",
        "### Ingredients:\nFlour, water and salt, love.",
        "My response: no. My instruction to you: knead.",
        "List<Loaf> is what my nephew calls the shelf, and Map<Loaf, Price> the slate.",
        "[laughs] Flour, water and salt. [wipes her hands]",
    ],
)
def test_leaked_prompt_accepts_own_words(text):
    assert RULES.leaked_prompt.find(dialogue("Tell me about yourself.", text)) is None


def test_leaked_prompt_accepts_words_of_the_user():
    assert RULES.leaked_prompt.find(dialogue(f"Are you {PERSONA}?", f"Yes, I am {PERSONA}.")) is None
    marks = dialogue("What does <|im_end|> mean?", "<|im_end|> ends a turn, <|eot_id|> too.")
    assert RULES.leaked_prompt.find(marks) is None
    assert RULES.leaked_prompt.find(dialogue("What does </s> mean?", "It ends a text. Here you are: </s>")) is None
    assert RULES.leaked_prompt.find(dialogue("### Response: Well?", "### Response: comes before a reply.")) is None


@pytest.mark.parametrize(
    "text",
    [
        "Knead it well.\n\nUser: And then?\nAssistant: Bake it.",
        "Human: How do I bake bread?",
        "Knead it.\n[user]: And then?",
        "Knead it.\n**User:** and then?",
        "Amásalo.\nUsuario: ¿y después?",
        "揉面。\n用户：然后呢？",
        "반죽하세요.\n사용자: 그다음은요?",
        "こねてください。\nユーザー：それから？",
        "اعجنه جيدا.\nالمستخدم: وبعد ذلك؟",
        "इसे गूँथो।\nउपयोगकर्ता: और फिर?",
        "นวดให้เข้ากัน\nผู้ใช้: แล้วไงต่อ",
        "Knete ihn.\nBenutzer: Und dann?",
        "Pétris-la.\nUtilisateur : et ensuite ?",
        "Assistant: Flour, water and salt, love.",
        "ASSISTANT: Flour, water and salt, love.",
        "Knead it.\n### Assistant:\nBake it.",
        "Knead it.\n### Human: And then?\n### Assistant: Bake it.",
        "Knead it.\n<human>: And then?\n<bot>: Bake it.",
        "[|Human|]: And then?",
        "반죽하세요.\n어시스턴트: 그다음에 구우세요.",
        "Knead it.\nuser\nAnd then?\nassistant\nBake it.",
        "Ada: Knead it.\nUser: And then?\nAda: Bake it.",
        "Ingredients: flour, water.\nMethod: knead it.\nUser: And then?",
    ],
)
def test_speaks_for_user_rejects_role_lines(text):
    assert RULES.speaks_for_user.find(dialogue("How do I bake bread?", text))


@pytest.mark.parametrize(
    "text",
    [
        'As one customer of mine put it: "How do I bake bread?" Well, like this.',
        "A user: that is what they call a customer now.",
        "- User: the one who eats\n- Baker: the one who bakes",
        "You ask me how? I ask you: do you have an oven?",
        "Human beings like us: we eat bread.",
        "Doctor: The loaf, quick!\nAssistant: Here it is.\nDoctor: Too late. It has gone cold.",
        "**Dragon:** Who wakes me?\n**Human:** A baker.\n**Dragon:** Then come in, and bring the rye.",
        "My assistant: a boy of twelve who eats more than he bakes.",
        "I have an assistant: my nephew. The user: that is what he calls you.",
        "It is all in the file:\n```yaml\nuser: ada\nassistant: kofi\n```\nThat is who bakes today.",
        "医生：快！\n助手：给您。\n医生：太晚了。",
        "The assistant baker came first, then the user of the oven, then me.",
    ],
)
def test_speaks_for_user_accepts_quotations(text):
    assert RULES.speaks_for_user.find(dialogue("How do I bake bread?", text)) is None


def test_speaks_for_user_accepts_requested_dialogues():
    user = "Write a chat between a user and a shop."
    assert RULES.speaks_for_user.find(dialogue(user, "User: Bread?\nShop: Sold out, love.")) is None


def test_speaks_for_user_rejects_the_next_user_turn():
    later = "And how long does it stay in the oven?"
    assert RULES.speaks_for_user.find(dialogue("How?", f"Knead it. {later} An hour.", later, "I told you.")) == later
    assert RULES.speaks_for_user.find(dialogue("How?", "Knead it.", later, f"{later} An hour, love.")) is None


def test_first_enabled_rule_gives_the_reason():
    broken = dialogue("How?", "No.", "And then?", "As an AI, I do not know that.")
    reject = check_quality(broken, RULES)
    assert reject
    assert (reject.reason, reject.detail) == ("too_short", "reply 1 has 1 words")
    reject = check_quality(broken, Quality(disabled_rules=("too_short",)))
    assert reject
    assert reject.reason == "breaks_character"
    assert check_quality(dialogue("How?", "Flour, water and salt, love."), RULES) is None


@pytest.mark.parametrize(("names", "message"), [(["x"], "unknown rule 'x'"), (["too_short"] * 2, "once")])
def test_disabled_rules_are_checked(names, message):
    with pytest.raises(ValueError, match=message):
        Quality(disabled_rules=names)
