"""Rows in the shape of Nemotron-Personas: the published columns, with people made from a number."""

import random
from typing import Any

JOBS = ["software_developer", "nurse", "bus_driver", "not_in_workforce", "primary_school_teacher"]
CITIES = ["Fresno", "Toledo", "Mobile", "Duluth"]
LONG = (
    "professional_persona", "sports_persona", "arts_persona", "travel_persona", "culinary_persona",
    "cultural_background", "skills_and_expertise", "hobbies_and_interests", "career_goals_and_ambitions",
)  # fmt: skip


def made_person(number: int, **changed: Any) -> dict[str, Any]:
    """Return a row: two thirds are women, and few are old."""
    draw = random.Random(number)
    sex = "Female" if draw.random() < 0.66 else "Male"
    age = min(18 + int(draw.expovariate(1 / 18)), 90)
    job, city = draw.choice(JOBS), draw.choice(CITIES)
    person = {
        "uuid": f"{number:032x}", "persona": f"Person {number} of {city} works as a {job.replace('_', ' ')}.",
        **{name: f"{name} of {number}" for name in LONG},
        "skills_and_expertise_list": f"['a{number}']", "hobbies_and_interests_list": "['b']", "sex": sex, "age": age,
        "marital_status": draw.choice(["married_present", "never_married"]), "education_level": "bachelors",
        "bachelors_field": "no degree", "occupation": job, "city": city, "state": "CA",
        "zipcode": f"{number % 99999:05}", "country": draw.choice(["USA", "Korea"]),
    }  # fmt: skip
    return person | changed
