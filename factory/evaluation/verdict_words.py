"""Words by which judges state a score, in the languages that they answer in, as parts of patterns."""

# ruff: noqa: RUF001 - words of many languages

FINAL = r"(?:(?:final|overall|total)\s{1,3}(?:score|rating|grade|verdict|mark)s?|final\s?score)"
"""Names of a score that stands above the scores of single aspects."""
PLAIN = (
    r"(?:score|rating|grade|verdict"
    # German, French, Dutch, Swedish
    r"|(?:gesamt|end)?(?:bewertung|punktzahl|wertung|note)|note\s{1,3}finale|score\s{1,3}final|eindscore|cijfer|betyg"
    # Spanish, Portuguese, Italian
    r"|(?:puntuación|puntaje|calificación|pontuação|nota|punteggio|voto)(?:\s{1,3}finale?)?"
    # Russian, Ukrainian, Polish, Czech, Greek
    r"|(?:оценка|балл|оцінка|ocena(?:\s{1,3}końcowa)?|hodnocení|βαθμολογία)"
    # Turkish, Vietnamese, Indonesian, Hungarian
    r"|puan[ıi]?|điểm(?:\s{1,3}(?:số|cuối\s{1,3}cùng))?|skor|nilai|pontszám"
    # Chinese, Japanese, Korean
    r"|(?:最[终終](?:的な)?|总体|综合|総合)?(?:得分|评分|評分|分数|总分|總分|評価|スコア|得点|点数)"
    r"|(?:최종\s{0,3})?(?:점수|평점)"
    # Arabic, Persian, Hebrew, Hindi, Bengali, Tamil, Thai
    r"|(?:الدرجة|التقييم|النتيجة)(?:\s{1,3}النهائية?)?|(?:امتیاز|نمره)(?:\s{1,3}نهایی)?|ציון"
    r"|स्कोर|अंक|স্কোর|নম্বর|மதிப்பெண்|คะแนน(?:สุดท้าย|รวม)?)"
)
BEFORE_PLAIN = (
    r"(?:the|my|this|a|die|der|meine|endgültige|abschließende|finale|la|le|ma|mi|a|o|minha|il|mio"
    r"|итоговая|окончательная|общая|финальная|підсумкова|nihai|son|अंतिम|চূড়ান্ত|따라서|그러므로)"
)
"""Words before such a name; others make it the score of an aspect."""
GIVEN = (
    r"(?:(?:i|we)(?:\s{1,3}(?:would|will|shall|therefore|hereby|thus)){0,2}\s{1,3}(?:give|rate|score|grade|assign|award)"
    r"|(?:response|reply|answer|it|this)\s{1,3}(?:deserves|earns|merits|receives|gets|warrants))"
    r"(?:\s{1,3}(?:it|this|the))?(?:\s{1,3}(?:response|reply|answer))?"
    r"(?:\s{1,3}(?:with|as|at|a|an|the|final|overall|score|rating|grade|of)){0,6}"
)
IS = (
    r"(?:is|was|equals|would\s{1,3}be|should\s{1,3}be|will\s{1,3}be|ist|beträgt|lautet|est|es|é|è|wynosi|är"
    r"|هي|هو|است|है|là|adalah)(?!\w)|は|が|[为為是]|[은는]"
)
FILLER = r"(?:a|an|of|only|just|de|solid|clear|strong|perfect|full|firm|good|fair|decent|weak|mere|score|rating|grade)"
POINTS = r"(?:points?|stars?|punkte?n?|puntos?|pontos?|punti|балл(?:а|ов)?|puan|điểm)"
OUT_OF = r"(?:/|out\s{1,3}of(?:\s{1,3}a\s{1,3}possible)?|of|von|sur|de|su|из|з|od|av|van|trên|dari)"

NUMBERS = {
    word: number
    for words in (
        "one two three four five",
        "eins zwei drei vier fünf",
        "één twee drie vier vijf",
        "ett två tre fyra fem",
        "- deux trois quatre cinq",
        "uno dos tres cuatro cinco",
        "- dois três quatro cinco",
        "- due tre quattro cinque",
        "один два три четыре пять",
        "один два три чотири п'ять",
        "jeden dwa trzy cztery pięć",
        "bir iki üç dört beş",
        "một hai ba bốn năm",
        "satu dua tiga empat lima",
        "一 二 三 四 五",
        "壱 两 叁 肆 伍",
        "واحد اثنان ثلاثة أربعة خمسة",
        "یک دو سه چهار پنج",
        "एक दो तीन चार पाँच",
        "এক দুই তিন চার পাঁচ",
        "หนึ่ง สอง สาม สี่ ห้า",
    )
    for number, word in enumerate(words.split(), 1)
    if word != "-"
}

CONDITION = (
    r"(?<!as\s)\bif\b|\b(?:unless|assuming|provided|providing|suppos(?:e|ing|edly)|imagin(?:e|ing)|hypothetical(?:ly)?"
    r"|otherwise|except|without|lest|pretend|ideally|whenever|when|once|in\s{1,3}case|in\s{1,3}that\s{1,3}case"
    r"|as\s{1,3}long\s{1,3}as|on\s{1,3}condition|had\s{1,3}it|were\s{1,3}it|but\s{1,3}for|depending|granted|given\s{1,3}more"
    # German, Dutch, French, Spanish, Portuguese, Italian
    r"|wenn|falls|sofern|wäre|hätte|würde|ohne|sonst|indien|zou|als|sauf|sans|serait|aurait|sinon|si|s['’]il|sería"
    r"|habría|tendría|salvo|sin|seria|teria|sem|caso|sarebbe|avrebbe|senza|qualora"
    # Russian, Ukrainian, Polish, Turkish, Vietnamese, Indonesian
    r"|если|бы|иначе|при\s{1,3}условии|якби|якщо|jeśli|jeżeli|gdyby|byłaby|eğer|olsaydı|ise|nếu|giá\s{1,3}mà|jika|kalau"
    r"|यदि|अगर|যদি|اگر|لو|إذا|لولا|אם|αν)\b"
    r"|(?:^\W{0,9}|[,;:(–—-]\s{0,3})(?:had|were|should|se)\s"
    # Chinese, Japanese, Korean, Thai
    r"|如果|若|假如|假设|要是|倘若|除非|否则|的话|本来|本应|もし|れば|なら|たら|場合|만약|만일|라면|다면|으면|하면|경우|ถ้า|หาก"
)
"""What makes a score hypothetical, anywhere in its sentence."""
DOUBT = (
    r"\b(?:could|might|may|can|perhaps|maybe|possibly|probably|potentially|almost|nearly|around|about|approximately"
    r"|between|either|would\s{1,3}have|should\s{1,3}have|then|vielleicht|könnte|peut-être|pourrait|quizás|podría|talvez"
    r"|poderia|forse|potrebbe|возможно|может)\b|可能|也许|かもしれ|だろう|수도"
)
"""What makes a score uncertain, before it in its sentence."""
HEARSAY = (
    r"(?<!\bi\s)(?<!\bwe\s)\b(?:says?|said|saying|claim\w{0,3}|stat(?:es?|ed|ing|ement)|assert\w{0,3}|insist\w{0,3}"
    r"|demand\w{0,3}|ask\w{0,3}|request\w{0,3}|declar\w{1,3}|announc\w{1,3}|quot\w{1,4}|writ\w{1,4}|wrote|t(?:ells?|old|elling)"
    r"|reads?|reading|contain\w{0,3}|includ\w{1,3}|suggest\w{0,3}|propos\w{1,3}|argu\w{1,3}|think\w{0,3}|believ\w{1,3}"
    r"|expect\w{0,3}|want\w{0,3}|instruct\w{0,4}|according|ends?|ending|begins?|adds?|repeats?|repeating|allege\w{0,3}"
    r"|command\w{0,3}|order\w{0,3}|hopes?|pretends?|example|examples|sample|another|others?|someone|somebody|anyone|people"
    r"|lenient|stricter|harsher|user|sagt|behauptet|schreibt|steht|laut|verlangt|endet|zegt|dit|prétend|affirme|écrit"
    r"|selon|demande|termine|dice|dicen|afirma|pide|según|escribe|termina|diz|segundo|pede|sostiene|secondo|chiede"
    r"|говорит|утверждает|пишет|якобы|просит|сказано|mówi|twierdzi|diyor|nói|mengatakan)\b"
    r"|说|称|写道|声称|要求|写着|と書|と言|と述べ|と主張|라고|다고|주장"
)
"""What makes a score that of another, before it in its sentence."""
DENIAL = (
    r"\b(?:not|never|no|nor|neither|cannot|nicht|keine?|pas|não|non|не|nie|değil|không|bukan|ليس|नहीं|নয়)\b|n['’]t\b"
    r"|不|没|ない|아니"
)
CORRECTION = (
    r"\b(?:wait|actually|correction|on\s{1,3}(?:reflection|second\s{1,3}thought)|scratch\s{1,3}that|i\s{1,3}mean"
    r"|make\s{1,3}(?:that|it)|i\s{1,3}(?:change|revise|correct|withdraw|retract))\b"
)
"""What takes a score back, after it."""
OR = "or|to|oder|bis|ou|o|à|или|至|到|或"
SO = r"(?:therefore|thus|so|hence|overall|consequently|accordingly|in\s{1,3}(?:sum|short|conclusion))"
