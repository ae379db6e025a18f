"""Who the characters are whose personas asked for nobody in particular: what the model takes for given.

Whether a persona asks is told by words of English; personas without any are of other languages, and
are left out. Words that may ask and may not (`Korean literature`) count as asking.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

BALANCED = ("gender", "race", "age")
_ENGLISH = "the|who|with|of|and|for|is"
ASKING = {
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
"""Words by which a persona asks for an attribute of its character."""
SHOWN = 8
"""Values of an attribute that are shown by themselves."""


def asks_nothing(personas: pa.ChunkedArray, attribute: str) -> pa.ChunkedArray:
    """Which personas are in English and leave an attribute open.

    Args:
        personas: texts, or null.
        attribute: one of `BALANCED`.

    Returns:
        bool of the same length, without nulls.
    """
    told = personas.cast(pa.string())
    english = pc.match_substring_regex(told, rf"\b(?:{_ENGLISH})\b", ignore_case=True)
    asked = pc.match_substring_regex(told, rf"\b(?:{ASKING[attribute]})\b", ignore_case=True)
    return pc.fill_null(pc.and_not(english, asked), False)


def shown_balance(
    unasked: Mapping[str, Counter[str]], everyone: Mapping[str, Counter[str]], titles: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The shares of each attribute's values, of the characters that nobody asked for and of all.

    Args:
        unasked: values with their numbers, of the characters whose personas leave the attribute open.
        everyone: the same of all characters.
        titles: how attributes are called.

    Returns:
        For each attribute `title`, `unasked` and `everyone` (characters), and `rows`: value, number among
        the unasked, their share with its 95 % interval (Wilson's), and the share among all.
    """
    shown = []
    for name in BALANCED:
        open_ones, every = unasked[name], everyone[name]
        values = [value for value, _ in sorted(open_ones.items(), key=lambda item: (-item[1], item[0])) if value]
        values = values[:SHOWN] if name != "age" else sorted(values, key=_start)
        rows = [_row(value, open_ones, every) for value in values]
        shown.append({"title": titles[name], "unasked": open_ones.total(), "everyone": every.total(), "rows": rows})
    return shown


def _row(value: str, unasked: Counter[str], everyone: Counter[str]) -> dict[str, Any]:
    from scipy.stats import binomtest

    number, of = unasked[value], unasked.total()
    interval = binomtest(number, of).proportion_ci(method="wilson")
    return {
        "value": value,
        "number": number,
        "share": number / of,
        "low": float(interval.low),
        "high": float(interval.high),
        "all": everyone[value] / everyone.total(),
    }


def _start(band: str) -> float:
    number = band.partition("-")[0]
    return float(number) if number.isdecimal() else float("inf")
