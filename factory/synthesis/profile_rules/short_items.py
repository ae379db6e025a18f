"""Rules for the items of a few words: name, age, gender, race and birth place."""
# ruff: noqa: RUF001 - items are in many scripts

import re

from factory.synthesis.profile_rules.sheet import Sheet, word_count
from factory.text.ngrams import words

MAX_NAME_WORDS = 7
NAME_IN_PERSONA_WORDS = 4
"""A name of at least so many words, all from the persona, is the persona."""

_PLACEHOLDERS = frozenset(
    item.strip()
    for line in """
    unknown|not known|n/a|na|none|null|nil|tbd|todo|not specified|unspecified|not stated|not given
    not provided|not mentioned|not applicable|not available|anonymous|undefined|string|text|value|name
    full name|first name last name|given name|family name|age|gender|race|birth place|birthplace|appearance
    experience|personality|number|same|same as above|any|anywhere|somewhere|someone|nobody|various|varies
    john doe|jane doe|lorem ipsum|xxx|xx|insert name|your name|desconocido|desconocida|no especificado
    no especificada|nombre|inconnu|inconnue|non spécifié|non précisé|nom|unbekannt|nicht angegeben
    keine angabe|keine|sconosciuto|sconosciuta|non specificato|non specificata|nome|desconhecido
    desconhecida|não especificado|não informado|nieznany|nieznana|nie podano|brak|onbekend|niet opgegeven
    bilinmiyor|belirtilmemiş|неизвестно|не указано|не указан|нет|имя|невідомо|不明|未知|不详|不詳|未定|无|無
    未指定|なし|名前|姓名|名字|알 수 없음|미상|없음|불명|이름|미정|غير معروف|غير محدد|مجهول|لا يوجد|نامشخص
    ناشناس|नامعلوم|अज्ञात|अनिर्दिष्ट|पता नहीं|निर्दिष्ट नहीं|ไม่ทราบ|ไม่ระบุ|ไม่มี|không rõ|không xác định
    tidak diketahui
""".splitlines()
    for item in line.split("|")
)
_IN_BRACKETS = re.compile(r"[\[<{(（【].{0,80}[\])>}）】]")
_NO_NAME_START = re.compile(
    r"(?:an?|the|he|she|it|they|i|my|his|her|their|this|that|who|someone|name|character|person|persona|is)(?=\s|:|\Z)",
    re.IGNORECASE,
)
_NUMBER_WORDS = re.compile(
    r"\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|"
    r"eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|billion|dozen|"
    r"decade|centur(?:y|ies)|millenni|[ae]{1,2}ons?\b|ageless|timeless|immortal|eternal|newborn)",
    re.IGNORECASE,
)
"""Also of characters that are not human."""
_HAN_NUMBERS = re.compile("[一二三四五六七八九十百]")
_NUMBER = re.compile(r"\d{1,4}")
_STATED_AGE = (
    re.compile(r"\b(\d{1,3})[- ]years?[- ]old\b", re.IGNORECASE),
    re.compile(r"(\d{1,3}) ?(?:세|살|岁|歲|歳|ปี(?!ที่|ก่อน|ค)|años de edad|ans\b(?= et| qui|,)|Jahre alt|anni d)"),
)
_FOR_YEARS = re.compile(r"\bfor (?:over |more than |almost |nearly )?(\d{1,3}) years\b", re.IGNORECASE)
_PRONOUNS = {"male": ("he", "him", "his", "himself"), "female": ("she", "her", "hers", "herself")}
_GENDERS = {"male": "male", "man": "male", "boy": "male", "female": "female", "woman": "female", "girl": "female"}
CLASHING_PRONOUNS = 3


def placeholder(sheet: Sheet) -> str | None:
    """Return which item stands for a missing one."""
    for name, text in sheet.items.items():
        plain = text.strip(" .。।*_\"'-–—…").casefold()
        if not plain or plain in _PLACEHOLDERS or _IN_BRACKETS.fullmatch(text.strip(" .*_")):
            return f"{name}: {text[:60]}"
    return None


def name_is_persona(sheet: Sheet) -> str | None:
    """Return the name if it is the persona, or a part of it that is no name."""
    found, persona = sheet.words["name"], " ".join(words(sheet.persona))
    if 1 < len(found) < NAME_IN_PERSONA_WORDS and _is_phrase(found, sheet.persona):
        return sheet.items["name"]
    joined = " ".join(found)
    is_long = len(found) >= NAME_IN_PERSONA_WORDS and len(joined) > 2 * len(found)
    inside = bool(joined) and f" {joined} " in f" {persona} "
    return sheet.items["name"] if inside and (is_long or joined == persona) else None


def _is_phrase(found: list[str], persona: str) -> bool:
    """Return whether words follow each other in the persona, always in lower case, as those of a name never do.

    In a persona that is all in lower case, they may be a name.
    """
    if persona.islower():
        return False
    pattern = r"\b" + "[ -]".join(map(re.escape, found)) + r"\b"
    lower = persona[:1].lower() + persona[1:]  # the first letter is a capital anyway
    matches = re.findall(pattern, lower, re.IGNORECASE)
    return bool(matches) and all(word[0].islower() for match in matches for word in re.split("[ -]", match))


def not_a_name(sheet: Sheet) -> str | None:
    """Return the name if it is a phrase, a sentence or a number."""
    name, found = sheet.items["name"], sheet.words["name"]
    spaced = len(name.split())
    letters = [character for character in name if character.isalpha()]
    has_case = any(character.lower() != character.upper() for character in letters)
    is_name = (
        letters
        and found
        and spaced <= MAX_NAME_WORDS
        and word_count(found) <= MAX_NAME_WORDS
        and not re.match(r"\d|\D*+\d{3}", name)
        and not _NO_NAME_START.match(name)
        and not re.search(r"[!?;:{}<>=_/|。！？؟।]|[^\W\d_]{5}\. [^\W\d_]{2}|,[^,]{0,200},", name)
        and (not has_case or any(word[:1].isupper() for word in re.split(r"[\s'’-]+", name)))
    )
    return None if is_name else name


def no_age(sheet: Sheet) -> str | None:
    """Return the age if it has no number, or only zeros; numbers in words are known in English only.

    No number is too high, as some characters are not human.
    """
    age = sheet.items["age"]
    numbers = [int(number) for number in _NUMBER.findall(age)]
    if numbers:
        return None if any(numbers) else age
    if _HAN_NUMBERS.search(age) or not sheet.is_english:
        return None
    return None if _NUMBER_WORDS.search(age) else age


def age_clash(sheet: Sheet) -> str | None:
    """Return the age that persona or profile state, and that is not the profile's."""
    numbers = [int(number) for number in _NUMBER.findall(sheet.items["age"])]
    if len(numbers) != 1:
        return None
    (age,) = numbers
    for pattern in _STATED_AGE:
        for text in (sheet.persona, sheet.items["appearance"]):
            stated = [int(number) for number in pattern.findall(text)[:1]]
            if stated and abs(stated[0] - age) > 1:
                return f"{age}, and {stated[0]} in: {text[:80]}"
    for years in map(int, _FOR_YEARS.findall(sheet.items["experience"])):
        if years >= age:
            return f"{age}, and something for {years} years"
    return None


def gender_clash(sheet: Sheet) -> str | None:
    """Return the gender if the profile's English pronouns are those of the other one."""
    found = sheet.words["gender"]
    genders = {_GENDERS[word] for word in found if word in _GENDERS}
    if len(genders) != 1 or len(found) > 2 or not sheet.is_english:
        return None
    (gender,) = genders
    other = "female" if gender == "male" else "male"
    said = [word for name in sheet.long for word in sheet.words[name]]
    own, others = (sum(word in _PRONOUNS[each] for word in said) for each in (gender, other))
    return f"{gender}, and {others} pronouns of the other" if others >= CLASHING_PRONOUNS and not own else None


def about_nobody(sheet: Sheet) -> str | None:
    """Return that no English sentence speaks of the character."""
    if not sheet.is_english:
        return None
    said = {word for name in sheet.long for word in sheet.words[name]}
    persons = {word for each in _PRONOUNS.values() for word in each} | {"they", "their", "i", "my", "me"}
    name = {word for word in sheet.words["name"] if len(word) > 1}
    return None if said & (persons | name) else "neither a pronoun nor the name"
