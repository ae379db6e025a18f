"""Complete endings without a full stop, such as an equation, a web address, a laugh or a signature.

The rule `unfinished_sentence` uses it. An ending of another language is one more line here, with a case in
`tests/unit/test_rules_endings.py`.
"""
# ruff: noqa: RUF001 - texts end in many scripts

import re
from collections.abc import Collection

TAIL_CHARACTERS = 400
"""Characters of a last line that are examined."""
CLOSING_WORDS = 8
"""The most words after the last full stop of a closing such as "With love, Tom"."""
NAME_WORDS = 4

_UNITS = (
    r"[kKMGTcdmµμn]?(?:m|g|l|L|s|t|A|V|W|Wh|Hz|J|N|Pa|B|b|eV|mol|bar|cal|Ω)[²³23]?(?:/(?:h|s|m|kg|l|min|day)[²³]?)?",
    r"[°º]?[CFK]|dB|rpm|mph|kph|fps|dpi|px|h|hrs?|min|secs?|[ap]m|AM|PM|BC|AD|o['’]clock|Uhr|ft|in|yd|mi|oz|lbs?|tsp|tbsp",
    r"USD|EUR|GBP|JPY|KRW|bucks|dollars?|euros?|cents?|percent|degrees?(?: Celsius| Fahrenheit)?|times|people",
    r"cups?|pints?|(?:table|tea)?spoons?|pinch(?:es)?|inch(?:es)?|feet|miles?|yards?|ounces?|pounds?|pages?|words?",
    r"(?:micro|milli|centi|kilo)?(?:gram(?:me|m|o|a)?s?|grammi|lit(?:er|re|ro)s?|litri|met(?:er|re|ro)s?|metri)|watts?",
    r"seconds?|minutes?|hours?|days?|weeks?|months?|years?|Prozent|Grad|Sekunden?|Minuten?|Stunden?|Tagen?|Wochen?",
    r"Monaten?|Jahren?|heures?|jours?|mois|ans|degrés|minutos?|horas?|d[íi]as?|semanas?|meses|años?|anos?|grados?|graus?",
    r"minuti|ore|giorni|anni|gradi|г|кг|мл|л|м|см|км|мин|минут\w?|час\w{0,2}|дн\w{1,2}|градус\w{0,2}|рубл\w{1,2}",
    r"[가-힣]{1,4}|[ァ-ヶー]{2,8}|[个個克升米度年月日天時时分秒円元歳岁]{1,3}",
)
_OPERAND = r"(?:(?:sin|cos|tan|log|ln|exp|sqrt|max|min|mod) )?[-−(\[{√|]{0,3}\w{1,20}[)\]}|!°%'′]{0,3}"
_NEXT_OPERAND = rf"(?: ?[-−+*/^·×÷⋅±=<>≤≥≈,] ?{_OPERAND}| ?[(\[]{_OPERAND}| \w{{1,2}}(?!\w))"

_CASE_SENSITIVE = (
    rf"(?:\d|[½¼¾⅓⅔])[\d.,]{{0,12}}[ \u00a0\u202f-]?(?:{'|'.join(_UNITS)})",
    r"\d[\w.,/'’–×x-]{0,12}(?<![.,/])",  # a number, a date, 1990s, 2H2O
    rf"(?:[=≈≠≤≥<>→⇒≡∝∈]|->) ?{_OPERAND}{_NEXT_OPERAND}{{0,12}}(?<![=,(\[{{+&:])",
    r"(?<!\S)[A-Z]\w{0,9}\+{1,2}|\d\+",  # C++, A+, 18+
)
_CASE_INSENSITIVE = (
    r"(?:https?://|www\.)\S*|(?<!\S)[(\[\"'“]?[@#]\w\S*|(?<!\S)[~.]{0,2}/[\w./-]+",
    r"(?<![a-z0-9._%+@/-])(?:[a-z0-9._%+-]{1,64}@)?(?:[a-z0-9-]{1,63}\.){1,6}[a-z]{2,24}(?:[/?#:]\S*)?",
    # laughs and faces
    r"[ㄱ-ㅎㅏ-ㅣ]{1,40}|笑|草|泣|[哈呵嘿嘻]{2,40}|[ぁ-ヿ一-鿿。！？]w{1,40}|([^\W\d_])\1{2,40}",
    r"(?<!\w)(?:(?:[hjxх]{1,3}[aeiouаеио]{1,6}){2,40}h?|(?:rs){2,40}|lo{1,9}l|lmf?ao|rofl|mdr|ptdr|etc|usw|amen)",
    r"(?<!\S)(?:[:;=8][-'’^o]?[dposxb3({\[]{1,9}|xd{1,9}|\([-'’]?[:;=]|<3{1,9}|[tqou0>][._][tqou0<]|[uo]w[uo]|x[xo]{1,8})",
    r"_[^_]{1,400}_",  # a gesture in italics
    # a last word that ends a sentence by itself
    r"(?:니다|니까|죠|거야|잖아|구나|(?<![필중주수소개강동])(?<=[가-힣])요|[았었였했겠됐있없이한된는]다)",
    r"(?:です|ます|でした|ました|ません|でしょう|ましょう|ください|下さい|[だの](?=[よねわ])|かしら)[かねよわなさの]{0,2}",
    r"[吧呢啊呀哦啦吗嘛哟喔]|[\u0561-\u0587]:",  # Armenian's full stop looks like a colon
)
_COMPLETE = [re.compile(rf"(?:{pattern})\Z") for pattern in _CASE_SENSITIVE]
_COMPLETE += [re.compile(rf"(?:{pattern})\Z", re.IGNORECASE) for pattern in _CASE_INSENSITIVE]
_CONTINUES = re.compile(
    r"(?<!\w)(?:the|of|and|or|to|with|by|from|that|which|than|as|but|your|my|und|oder|mit|von|der|die|das|et|ou|les|des|"
    r"del|los|las|con|que|или)\Z"
)
"""Words that end neither a sentence nor an equation."""
_SIGNED = re.compile(
    r"(?<!\w)(?:yours|love|sincerely|faithfully|truly|regards|wishes|cheers|hugs|kisses|remain|signed|xoxo|"
    r"(?:your|dein|deine|euer|eure|ihr|ihre|tu|su|ton|ta|votre|tuo|tua|seu|sua|твой|твоя|ваш|ваша)(?: \w{2,20})?|"
    r"grüße|gruß|saludos|abrazos|besos|bises|bisous|amicalement|cordialement|baci|saluti|abraços|beijos)\Z",
    re.IGNORECASE,
)
_SIGNED_AFTER_NAME = re.compile(r"(?:드림|올림|拜上|敬上|謹上|敬具|拝)\Z")


def is_complete(line: str, names: Collection[str]) -> bool:
    """Return whether a last line without a full stop is a complete ending.

    Args:
        line: the line; only its end is examined.
        names: the names that the writer may sign with.
    """
    tail = line.rstrip()[-TAIL_CHARACTERS:]
    if _CONTINUES.search(tail):
        return False
    return any(pattern.search(tail) for pattern in _COMPLETE) or _is_signed(tail, names)


def _is_signed(tail: str, names: Collection[str]) -> bool:
    if _SIGNED_AFTER_NAME.search(tail) or any(_ends_with(tail, name) for name in names):
        return True
    words = tail.split()
    count = 0
    while count < min(NAME_WORDS, len(words)) and _is_name(words[-count - 1]):
        count += 1
    for length in range(1, count + 1):
        before, name = words[:-length], words[-length]
        dashed = name[0] in "-–—~" or (before and before[-1] in ("-", "–", "—", "--", "~"))
        if dashed or _SIGNED.search(" ".join(before[-2:])):
            return True
        if before and before[-1].endswith(",") and _words_since_full_stop(before) <= CLOSING_WORDS - length:
            return True
    return False


def _is_name(word: str) -> bool:
    name = word.lstrip("-–—~*_")
    return len(name) > 1 and name[0].isupper()


def _words_since_full_stop(words: list[str]) -> int:
    ends = [position for position, word in enumerate(words, 1) if word.rstrip("*_\"'”’)")[-1:] in (*".!?…。！？",)]
    return len(words) - ends[-1] if ends else len(words)


def _ends_with(tail: str, name: str) -> bool:
    if not tail.casefold().endswith(name.casefold()):
        return False
    before = tail[: -len(name)][-1:]
    return not before.isalnum() or name.upper() == name.lower()  # scripts without capitals leave no space before a name
