"""Endings without a full stop: complete ones in many languages, and unfinished ones."""
# ruff: noqa: RUF001 - texts end in many scripts

import pytest

from factory.curation.rules.context import DialogueContext
from factory.curation.rules.endings import is_complete
from factory.curation.rules.unfinished_sentence import UnfinishedSentence
from factory.records import Message

NAME = "Ada Oduya"
START = {
    "en": "Knead the dough until it no longer sticks to your hands. After that you leave it under a cloth and",
    "de": "Knete den Teig, bis er nicht mehr an den Händen klebt. Danach deckst du ihn mit einem Tuch zu und",
    "fr": "Pétris la pâte jusqu'à ce qu'elle ne colle plus aux mains. Ensuite tu la couvres d'un linge et",
    "es": "Amasa hasta que la masa no se pegue a las manos. Después la cubres con un paño limpio y",
    "ru": "Меси тесто, пока оно не перестанет липнуть к рукам. Потом накрой его полотенцем на столе и",
    "ko": "손에 붙지 않을 때까지 반죽을 치대야 합니다. 그다음에는 깨끗한 천을 덮어 두고 한참을 기다렸다가",
    "ja": "手につかなくなるまでよくこねます。それから布をかけて",
    "zh": "面团要揉到不粘手为止。然后盖上布放在温暖的地方",
    "ar": "اعجن العجين حتى لا يلتصق باليدين. ثم غطه بقطعة قماش نظيفة واتركه في مكان دافئ و",
    "hi": "आटे को तब तक गूँथो जब तक वह हाथों से चिपकना बंद न कर दे। फिर उसे कपड़े से ढककर",
}


def unfinished(reply: str, name: str = NAME) -> str | None:
    messages = (Message("system", "x"), Message("user", "How?"), Message("assistant", reply))
    return UnfinishedSentence().find(DialogueContext(messages, "a baker", f"Name: {name}\nAge: 34"))


COMPLETE = [
    # equations, numbers, units
    ("en", "the side that you were looking for comes out as x = 4"),
    ("en", "so the line on the slate must be y = mx + b"),
    ("en", "what the schoolmaster wrote there was E = mc²"),
    ("en", "all you need is area = length × width"),
    ("en", "out of the oven it goes as 2 H2 + O2 -> 2 H2O"),
    ("en", "then it follows that sin(x) ≤ 1"),
    ("en", "for a round loaf of that size I take 500 g"),
    ("en", "the mill by the river is no further than 12 km"),
    ("en", "in summer my kitchen goes up to 38 °C"),
    ("en", "you let it rest for at least 45 minutes"),
    ("en", "on the way home nobody drives faster than 50 km/h"),
    ("en", "we open every morning except Sunday at 6 am"),
    ("en", "for all of it together I ask 4.50"),
    ("en", "it has been done like that since the 1920s"),
    ("en", "my nephew writes it all down for us in C++"),
    ("de", "backst ihn bei 230 Grad"),
    ("de", "wartest eine gute Stunde, also bis 17 Uhr"),
    ("fr", "tu attends 45 minutes"),
    ("es", "esperas por lo menos 2 horas"),
    ("ru", "подожди 40 минут"),
    ("ko", "오븐에서 굽는 시간은 40 분"),
    ("ko", "필요한 밀가루는 모두 500그램"),
    ("ja", "一時間ほど待ち、温度は230度"),
    ("zh", "等上40分钟"),
    ("ar", "انتظر 45"),
    # addresses
    ("en", "read the rest of it at example.org/bread"),
    ("en", "read the rest of it at www.example.org"),
    ("en", "read the rest of it at https://example.org/bread?loaf=rye&size=2"),
    ("en", "write to the shop at bread@example.com"),
    ("en", "the recipe is in the file rye-bread.txt"),
    ("ja", "くわしくはexample.jp/pan"),
    ("es", "luego me lo cuentas en @adapanadera"),
    ("en", "tell everybody in town about it #bread"),
    # laughs and faces
    ("en", "whoever touches it before supper gets the spoon haha"),
    ("en", "that is how I burned the first forty of them lol"),
    ("en", "that is how I burned the first forty of them xD"),
    ("en", "that is how I lost my very best apron to it :("),
    ("en", "that is how I won my very best apron with it :D"),
    ("en", "you send me the first slice of it with the boy <3"),
    ("en", "please please do not forget the salt this time pleaseee"),
    ("es", "la próxima vez me traes a mí un buen trozo jajaja"),
    ("fr", "la prochaine fois tu m'en gardes une tranche mdr"),
    ("ru", "в следующий раз принеси мне кусок хахаха"),
    ("ko", "이웃들한테도 꼭 나눠 주라고 말해 주고 싶네 ㅎㅎ"),
    ("ko", "이웃들한테도 꼭 나눠 주라고 말해 주고 싶다 ㅋㅋㅋ"),
    ("ko", "이웃들한테도 못 나눠 준 게 아직도 마음에 걸려 ㅠㅠ"),
    ("ja", "のんびり待つだけ、寝てしまわないように笑"),
    ("ja", "のんびり待つだけ、寝てしまわないように（笑）"),
    ("ja", "のんびり待つだけ、寝てしまわないようにw"),
    ("zh", "等它慢慢发起来就好哈哈哈"),
    ("en", "smile at it like an old friend of yours 🍞"),
    ("en", "smile at it like an old friend of yours ❤️"),
    # signatures and gestures
    ("en", "bring me the crust. Until then, with flour on my sleeves, I remain your friend Ada"),
    ("en", "come by the shop when the lamp is lit. Yours, Tom"),
    ("en", "come by the shop when the lamp is lit. With love from the bakery, Tom Baker"),
    ("en", "come by the shop when the lamp is lit. - Anna"),
    ("en", "come by the shop when the lamp is lit. —Anna"),
    ("en", "come by the shop when the lamp is lit, and until then I am sincerely Tom"),
    ("de", "komm vorbei, wenn die Lampe brennt. Liebe Grüße, Anna"),
    ("de", "komm vorbei, wenn die Lampe brennt, deine Anna"),
    ("fr", "passe me voir quand la lampe est allumée. Bises, Marie"),
    ("es", "ven cuando la lámpara esté encendida. Un abrazo, Lucía"),
    ("ru", "приходи, когда зажгут лампу. Твоя Анна"),
    ("ko", "등불이 켜지면 가게에 한번 들러 주기를 기다리며 김지훈 드림"),
    ("en", "come by the shop when the lamp is lit _she wipes her hands and nods_"),
    ("en", "come by when the lamp is lit, said the old woman, and bring “whatever you have”"),
    # last words that end a sentence by themselves
    ("ko", "뜨거운 오븐에 넣고 한 시간 동안 구우면 돼요"),
    ("ko", "뜨거운 오븐에 넣고 한 시간 동안 구우면 됩니다"),
    ("ja", "一時間ほど休ませて、熱いかまどで焼いてくださいね"),
    ("zh", "等它慢慢发起来再送进炉子里烤吧"),
]


@pytest.mark.parametrize(("language", "end"), COMPLETE)
def test_complete_endings_are_accepted(language, end):
    assert unfinished(f"{START[language]} {end}") is None


UNFINISHED = [
    ("en", "then you put it on a"),
    ("en", "then you take the long wooden"),
    ("en", "then, when the crust has gone dark at the edges,"),
    ("en", "there are three things that you must never forget:"),
    ("en", "the two sides of it together come out as x ="),
    ("en", "the two sides of it together come out as x = the"),
    ("en", "the two sides of it together come out as 4 + 2 +"),
    ("en", "for a round loaf of that size I take 500 g of"),
    ("en", "you let it rest for 45 minutes and"),
    ("en", "we sell more than 40 different kin"),
    ("en", "as it says at example.org/bread you should"),
    ("en", "my friend Tom from the mill, who has never baked,"),
    ("en", "the people of the street all call me their love"),
    ("en", "I came here from Lagos and never once looked"),
    ("en", "we laughed about it, haha, until my sister"),
    ("en", "she asked me (and she had been waiting for an hour"),
    ("de", "dann schiebst du ihn in den vorgeheizten"),
    ("de", "dann nimmst du das Mehl und das Wasser und die"),
    ("fr", "tu la mets dans le four bien"),
    ("es", "la metes en el horno con"),
    ("ru", "поставь его в горячую"),
    ("ko", "뜨거운 오븐에 넣고 노릇노릇해질 때까"),
    ("ja", "一時間ほど休ませ、それから熱いかまどで焼いてくだ"),
    ("zh", "等它慢慢发起来再送进"),
]


@pytest.mark.parametrize(("language", "end"), UNFINISHED)
def test_unfinished_endings_are_found(language, end):
    assert unfinished(f"{START[language]} {end}")


@pytest.mark.parametrize("text", ["ዱቄት ውሃ እና ጨው ብቻ ነው። ከዚያም ለአንድ ሰዓት ያህል በጋለ ምድጃ ውስጥ ጋግረው ይህ ነው የእኛ መንገድ።",
    "Ալյուր, ջուր և աղ։ Հունցիր այնքան մինչև այն դադարի կպչել ձեռքերին և հետո թխիր մեկ ժամ տաք փռում այսպես:",
    "ম্যাদা জল আর নুন। ভালো করে মেখে এক ঘণ্টা ঢেকে রাখো তারপর গরম চুলায় সেঁকে নাও এইভাবেই আমরা করি।",
    "แป้ง น้ำ และเกลือ. นวดจนไม่ติดมือแล้วพักไว้หนึ่งชั่วโมง จากนั้นอบในเตาร้อนจนเหลืองสวย",
    "قمح وماء وملح. اعجنه حتى لا يلتصق بيديك ثم اخبزه في فرن ساخن لمدة ساعة تقريبا هل فهمت ما أقول لك؟",
])  # fmt: skip
def test_full_stops_of_other_scripts_are_accepted(text):
    assert unfinished(text) is None


def test_signature_of_the_character_is_accepted():
    text = f"{START['en']} when the lamp is lit you come by and see that old fool of a baker who is called"
    assert unfinished(f"{text} Ada") is None
    assert unfinished(f"{text} Ada Oduya") is None
    assert unfinished(f"{text} Ada", name="Kofi Mensah")
    assert unfinished(f"{text} armada")
    assert unfinished(f"{START['zh']}等你来找我，你的老朋友李明", name="李明") is None
    assert unfinished(f"{START['zh']}等你来找我，你的老朋友李明", name="王芳")


def test_end_of_a_long_line_is_examined():
    assert is_complete("a " * 50_000 + "x = 4", ())
    assert not is_complete("x = 4 " * 50_000 + "and a", ())
