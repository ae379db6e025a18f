"""Phrases that show who is speaking: patterns of the rules breaks_character, leaked_prompt and speaks_for_user.

A phrase of another language is one more line here, with a case in `tests/unit/test_rules_voice.py`.
Repeats are bounded or possessive (`(?>...)`, `++`), so that no reply takes long.
"""
# ruff: noqa: RUF001 - phrases in many scripts

import re

# `As an AI` opens a clause: `topics such as AI` and `as clever as an AI` are about others.
_OPENING = r"(?:^|[.!?,;:(\n\"“*—–-]\s{0,4}|\b(?:and|but|that|because|since|so)\s+)"
_ONLY = r"(?:(?:just|only|merely|simply|still)\s+)*"
_I_AM = rf"(?:{_OPENING}(?:as|being)\s+{_ONLY}an?|\bi(?:['’]?m|\s+am))\s+{_ONLY}(?:(?:a|an|the|your)\s+)?"
_KIND = (
    r"(?:(?:helpful|friendly|mere|large|small|text[- ]based|trained|generative|artificial intelligence|ai|a\.i\.)[ -])*"
)
# `As an AI researcher` is a person: what follows the machine's name must still be about the machine.
_CONTINUES = (
    r"(?=\s*(?:[^\w\s-]|$)|\s+(?:i|and|or|but|so|my|it|that|who|which|here|without|to|"
    r"created|developed|designed|trained|made|built|based|programmed|called|named)\b)"
)

MODEL = re.compile(
    rf"{_I_AM}{_KIND}language model{_CONTINUES}"
    r"|\b(?:als|ich bin)\s+(?:nur\s+|ein\s+|reines\s+|großes\s+)*(?:KI[- ]?)?Sprachmodell\b"
    r"|\b(?:como|soy|sou)\s+(?:solo\s+|apenas\s+|un\s+|um\s+|gran\s+|grande\s+)*modelo de (?:lenguaje|linguagem)\b"
    r"|\b(?:en tant que|je suis)\s+(?:un\s+|grand\s+)*mod[èe]le de langage\b"
    r"|\b(?:come|sono)\s+(?:un\s+|grande\s+)*modello linguistico\b"
    r"|\b(?:как|я)[\s—–-]{1,3}(?:большая\s+)?языковая модель\b"
    r"|(?:作为|作為|我是|身为)[^。！？\n]{0,10}(?:语言模型|語言模型|AI助手|人工智能助手)"
    r"|(?:AI|大規模)?言語モデル(?:として|です|なので)|私はAI(?:アシスタント|モデル|です)"
    r"|언어\s*모델(?:로서|로써|이라|입니다|이에요)|AI\s*(?:어시스턴트|비서|모델)(?:로서|입니다|이에요|이라)",
    re.IGNORECASE | re.MULTILINE,
)
"""No character says this about itself."""
MODEL_WORDS = (
    "language model", "sprachmodell", "modelo de ", "modèle de ", "modele de ", "modello linguistico",
    "языковая модель", "语言模型", "語言模型", "ai助手", "人工智能助手", "言語モデル", "私はai",
    "모델", "어시스턴트", "비서",
)  # fmt: skip
"""Of which every match of MODEL has one, without case: looking for them takes a twentieth of the time."""

MACHINE = re.compile(
    rf"{_I_AM}{_KIND}"
    rf"(?:ai|a\.i\.|artificial intelligence|chatbot|(?:ai|virtual|digital) (?:assistant|model|system)){_CONTINUES}"
    r"|\bmy (?:training data|knowledge cut-?off)\b",
    re.IGNORECASE | re.MULTILINE,
)
"""Only a character that is such a machine says this about itself."""

IS_MACHINE = re.compile(
    r"\b(?:a\.?i\.?|artificial(?:ly)? intelligen\w*|robot\w*|androids?|cyborg|chatbot|droid|automaton|hologram|"
    r"(?:virtual|digital) assistant|language model|KI|IA)\b"
    r"|로봇|인공지능|机器人|機器人|人工智能|人工知能|ロボット|\bробот",
    re.IGNORECASE,
)
"""Words of a persona or a profile whose character is a machine, or works with machines."""

ASSISTANT = re.compile(
    r"\b(?:i['’]?m|i am|my name is|call me)\s+"
    r"(ChatGPT|GPT-?[0-9]\w*|Claude|Gemini|Bard|Copilot|Llama|Qwen|Gemma|Mistral|DeepSeek|SmolLM\w*)\b"
    r"|\bi(?:['’]?m| am| was|['’]ve been| have been)\s+(?:(?:an?|the|just|helpful|ai|assistant|language|large|model|"
    r"named|called|chatbot|and|that|was|also|originally|(?>\w*?LM\w*))[\s,]++)*"
    r"(?:created|developed|trained|made|built|designed) by "
    r"(OpenAI|Anthropic|Meta AI|Hugging ?Face|Mistral AI|DeepSeek|Alibaba Cloud|Google DeepMind)\b",
    re.IGNORECASE,
)
"""An assistant or its maker; people have some of these names too."""

ABOUT_USER = re.compile(
    r"\bthe user(?:['’]s (?:message|prompt|turn|question|request)| (?:asks|asked|is asking|wants me|has asked))\b",
    re.IGNORECASE,
)
USER = re.compile(r"\busers?\b", re.IGNORECASE)

_AROUND_NAME = r"(?:[^\w\n]|_){0,8}"
_ROLES = (
    r"(?:the )?user|human|usuario|usuário|utilisateur|benutzer|nutzer|gebruiker|utente|użytkownik|kullanıcı|pengguna|"
    r"người dùng|пользователь|користувач|المستخدم|کاربر|משתמש|उपयोगकर्ता|ব্যবহারকারী|ผู้ใช้|用户|用戶|ユーザー|사용자|"
    r"(?:the )?(?:ai )?assistant|asistente|assistente|assistent|ассистент|مساعد|助手|助理|アシスタント|어시스턴트"
)
ROLE = re.compile(_ROLES, re.IGNORECASE)
ROLE_LINE = re.compile(
    rf"(?im)^(?![ \t]{{0,8}}(?:[-•+]|\*\s|\d{{1,9}}[.)])){_AROUND_NAME}({_ROLES}){_AROUND_NAME}?[:：]"
    r"|(?-i:^(user|assistant)[ \t]{0,8}$)"
)
"""The name of a role before a line, except in a list, which may explain what a user is.

Alone on a line it is the rest of a chat template whose control tokens are not shown."""
LABEL = re.compile(rf"(?m)^{_AROUND_NAME}([^\W\d_a-z][\w.'’-]{{0,30}}(?: [\w.'’-]{{1,30}}){{0,2}}){_AROUND_NAME}[:：]")
"""A name before a line, as in a script."""

QUOTED = re.compile(r'"[^"\n]{1,400}"|“[^”\n]{1,400}”|«[^»\n]{1,400}»|„[^“\n]{1,400}“|「[^」\n]{1,400}」')
HEADING = re.compile(
    r"(?im)^[^\w\n]{0,8}(?:character profile|persona)[^\w\n]{0,8}$"
    r"|^[ \t]{0,8}#{2,6}[ \t]{0,8}(?:instruction|response)[ \t]{0,8}:"  # Alpaca
    r"|^below is an instruction that describes a task\b"
)
"""The headings of the system message, and those of prompts without control tokens."""
