"""The model's defaults: gender, race and age of characters whose personas do not specify them.

Whether a persona specifies an attribute is decided by English words; personas without any are in other languages and
are left out. Ambiguous words (`Korean literature`) count as specifying.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

BALANCED = ("gender", "race", "age")
_ENGLISH = "the|who|with|of|and|for|is"
SPECIFYING = {
    "gender": (
        "he|him|his|himself|she|her|hers|herself|m[ae]n|wom[ae]n|males?|females?|boys?|girls?|guys?|lad(?:y|ies)|"
        "gentlem[ae]n|sirs?|madam|mr|mrs|ms|miss|(?:grand|god|step)?(?:mother|father|son|daughter)s?|moms?|mums?|"
        "mommy|dads?|daddy|grand(?:ma|pa)s?|(?:step)?(?:brother|sister)s?|husbands?|wife|wives|uncles?|aunts?|nephews?|"
        "nieces?|widow(?:er)?s?|brides?|grooms?|kings?|queens?|princes?|princess(?:es)?|dukes?|duchess|actress(?:es)?|"
        "waitress(?:es)?|hostess|heiress|nuns?|monks?|feminine|masculine|(?:trans|non-?binary|cis)(?:gender)?|"
        "(?:business|sales|fire|police|fisher|crafts|sports|congress|chair|fore|gun|noble|states|house|camera|handy|"
        "middle|mail|post|lays?|clergy|country)(?:wo)?m[ae]n|housewi(?:fe|ves)|bachelor|maid(?:en)?|boyfriend|girlfriend"
    ),
    "age": (
        "\\d{1,3}[- ]?years?(?:[- ]old)?|aged|ages?|teen\\w*|tweens?|adolescen\\w+|young\\w*|youth\\w*|"
        "old|older|elder\\w*|seniors?|retire\\w*|pension\\w*|middle-aged|child\\w*|kids?|boys?|girls?|bab(?:y|ies)|toddlers?|infants?|"
        "grand(?:mother|father|ma|pa|parent)s?|students?|pupils?|undergrad\\w*|freshm[ae]n|sophomores?|schoolers?|"
        "\\d\\ds|twenties|thirties|forties|fifties|sixties|seventies|eighties|millennials?|boomers?|centenarians?"
    ),
    "race": (
        "black|white|brown|coloured|colored|afr(?:o|ican)\\w*|asian\\w*|european\\w*|caucasian\\w*|latin[oax]s?|"
        "latin|hispanics?|american\\w*|indigenous|native|aboriginal\\w*|m[aā]ori|inuit|jewish|jews?|arab\\w*|"
        "middle eastern|persian|kurdish|romani|(?:east|south|north|west)ern|indian\\w*|pakistani|bangladeshi|nepal\\w+|"
        "sri lankan|chinese|taiwanese|"
        "japanese|korean\\w*|vietnamese|thai|filipin[oa]s?|indonesian|malaysian|singaporean|mongolian|iranian|iraqi|"
        "israeli|palestinian|lebanese|syrian|turkish|egyptian|moroccan|algerian|tunisian|nigerian|ghanaian|kenyan|"
        "ethiopian|somali|ugandan|tanzanian|zimbabwean|congolese|senegalese|mexican\\w*|cuban|puerto rican|dominican|"
        "haitian|jamaican|caribbean|colombian|venezuelan|peruvian|chilean|argentin\\w+|brazilian|bolivian|canadian|"
        "australian|british|english|scottish|irish|welsh|french|german|dutch|belgian|swiss|austrian|italian|spanish|"
        "portuguese|greek|polish|czech|hungarian|romanian|bulgarian|serbian|croatian|bosnian|albanian|ukrainian|"
        "russian|finnish|swedish|norwegian|danish|icelandic|biracial|multiracial|immigrants?|ethnic\\w*"
    ),
}
"""Words by which a persona specifies an attribute of its character."""
MAX_VALUES = 8
"""Maximum number of values shown per attribute."""


def is_unspecified(personas: pa.ChunkedArray, attribute: str) -> pa.ChunkedArray:
    """Return which personas are in English and do not specify an attribute.

    Args:
        personas: texts, or null.
        attribute: one of `BALANCED`.

    Returns:
        bool of the same length, without nulls.
    """
    texts = personas.cast(pa.string())
    english = pc.match_substring_regex(texts, rf"\b(?:{_ENGLISH})\b", ignore_case=True)
    specified = pc.match_substring_regex(texts, rf"\b(?:{SPECIFYING[attribute]})\b", ignore_case=True)
    return pc.fill_null(pc.and_not(english, specified), False)


def balance_rows(
    unspecified: Mapping[str, Counter[str]], everyone: Mapping[str, Counter[str]], titles: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the shares of each attribute's values, of the characters that do not specify it and of all.

    Args:
        unspecified: number by value, of the characters whose personas do not specify the attribute.
        everyone: the same of all characters.
        titles: the titles of the attributes.

    Returns:
        For each attribute `title`, `unspecified` and `everyone` (characters), and `rows`: value, number among the
        unspecified, their share with its 95 % interval (Wilson's), and the share among all.
    """
    shown = []
    for name in BALANCED:
        counts, total = unspecified[name], everyone[name]
        values = [value for value, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if value]
        values = values[:MAX_VALUES] if name != "age" else sorted(values, key=_first_number)
        rows = [_row(value, counts, total) for value in values]
        sizes = {"unspecified": counts.total(), "everyone": total.total()}
        shown.append({"title": titles[name], **sizes, "rows": rows})
    return shown


def _row(value: str, unspecified: Counter[str], everyone: Counter[str]) -> dict[str, Any]:
    from scipy.stats import binomtest

    number, of = unspecified[value], unspecified.total()
    interval = binomtest(number, of).proportion_ci(method="wilson")
    return {
        "value": value,
        "number": number,
        "share": number / of,
        "low": float(interval.low),
        "high": float(interval.high),
        "all": everyone[value] / everyone.total(),
    }


def _first_number(band: str) -> float:
    number = band.partition("-")[0]
    return float(number) if number.isdecimal() else float("inf")
