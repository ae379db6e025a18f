"""Prompts by path, and items of profiles that a prompt defines."""

import json

import pytest

from factory.config.loading import checked
from factory.config.prompt_places import PromptPlaces
from factory.config.run import RunConfig
from factory.errors import ConfigError, PromptError, StorageError
from factory.inference.prompts import find_prompt, load_prompt, own_prompts
from factory.records import Completion, Persona, Profile, ProfileFields, Reject
from factory.synthesis.profiles import ProfileCheck, parse_profile, render_profile

BUILT_IN = load_prompt("profile")
PERSONA = Persona("c" * 16, "a baker who opened a shop")
ITEMS = {
    "name": "Ada Oduya", "age": "34", "gender": "female", "race": "Black", "birth_place": "Lagos",
    "appearance": "She is tall, with short hair and a floured apron.",
    "experience": "Her aunt taught her to bake, and she opened a shop of her own at thirty.",
    "personality": "She is warm and dry, and talks in short sentences.",
    "secret": "She never learned to read.", "favorite_food": "plantain",
}  # fmt: skip
FIELDS = "fields: {secret: {at_most: 300}, favorite_food: {at_most: 60}}\n"
OWN = (("secret", 300), ("favorite_food", 60))


@pytest.fixture
def own(tmp_path):
    """Write a prompt of the user's, and return where it is."""

    def write(text: str, name: str = "profile", file: str = "mine.txt") -> PromptPlaces:
        (tmp_path / file).write_text(text)
        return PromptPlaces(files=((name, str(tmp_path / file)),))

    return write


def with_fields(fields: str = FIELDS) -> str:
    return BUILT_IN.text.replace("output: ProfileFields\n", f"output: ProfileFields\n{fields}")


def test_a_prompt_by_path_replaces_the_one_of_its_name(own, tmp_path):
    places = own(BUILT_IN.text.replace("version: 1", "version: 41").replace("You invent", "Invent"))
    mine = load_prompt("profile", places)
    assert mine.ref.startswith("profile@41#")
    assert mine.parts[0][1].startswith("Invent")
    assert load_prompt("training-system", places) == load_prompt("training-system")
    assert find_prompt(mine.ref, places) == mine
    assert find_prompt(BUILT_IN.ref, places) == BUILT_IN
    assert own_prompts(["profile", "judge"], places) == [f"Prompt of your own: {mine.ref} from {tmp_path / 'mine.txt'}"]


def test_a_path_comes_before_the_folder(own, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("profile", "training-system"):
        (folder / f"{name}.md").write_text(load_prompt(name).text.replace("version: 1", "version: 7"))
    places = PromptPlaces(str(folder), own(BUILT_IN.text.replace("version: 1", "version: 41")).files)
    versions = [load_prompt(name, places).ref.split("#")[0] for name in ("profile", "training-system", "judge")]
    assert versions == ["profile@41", "training-system@7", "judge@1"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{{ persona }}", "somebody", r"never uses its input 'persona'"),
        ("[persona, language]", "[persona]", r"uses {{ language }}, which is not one of its inputs"),
        ("id: profile", "id: mine", r"its id is 'mine'; an id is the prompt's name, 'profile'"),
        ("at_most: 300", "at_least: 300", r"fields.secret.at_most: Field required"),
        ("at_most: 300", "at_most: 0", r"fields.secret.at_most: .*greater than or equal to 1"),
        ("at_most: 300", "at_most: 9000", r"fields.secret.at_most: .*less than or equal to 2000"),
        ("secret:", "age:", r"the name of the field 'age' is taken"),
        ("secret:", "copy:", r"the name of the field 'copy' is taken"),
        ("secret:", "Big Secret:", r"fields.Big Secret.\[key\]: String should match"),
        ("output: ProfileFields", "output: text", r"has fields, which only a prompt of profiles may have"),
    ],
)
def test_a_wrong_prompt_by_path_is_one_line(own, old, new, said):
    with pytest.raises(PromptError, match=said) as caught:
        load_prompt("profile", own(with_fields().replace(old, new)))
    assert "mine.txt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_placeholders_are_named(own):
    text = load_prompt("dialogue-rewrite").text
    for name in ("profile", "turns"):
        text = text.replace(f"{{{{ {name} }}}}", "it").replace(f" {name},", "")
    text = text[: text.index("# user")] + "# user\n{{ persona }} {{ replies }}\n"
    with pytest.raises(PromptError, match=r"has no {{ profile }}, {{ turns }}, which the built-in prompt has"):
        load_prompt("dialogue-rewrite", own(text, "dialogue-rewrite"))


def test_a_missing_file_is_named():
    with pytest.raises(PromptError, match=r"prompt /nowhere/p.md: no such file"):
        load_prompt("profile", PromptPlaces(files=(("profile", "/nowhere/p.md"),)))


def test_a_folder_is_no_prompt(tmp_path):
    with pytest.raises(StorageError, match=str(tmp_path)):
        load_prompt("profile", PromptPlaces(files=(("profile", str(tmp_path)),)))


def test_settings_name_prompts_that_exist():
    def config(**prompts: str) -> RunConfig:
        return checked(RunConfig, {"output": "x", "prompts": prompts}, "config key")

    placed = config(profile="a.md", judge="s3://b/j.md").with_paths(lambda path: f"/in/{path}", str)
    assert placed.prompts == {"profile": "/in/a.md", "judge": "/in/s3://b/j.md"}
    assert placed.prompt_places.files == (("judge", "/in/s3://b/j.md"), ("profile", "/in/a.md"))
    with pytest.raises(ConfigError, match="no prompt is called 'profil'; did you mean 'profile'"):
        config(profil="a.md")
    with pytest.raises(ConfigError, match="give a local path or s3://"):
        config(profile="http://host/a.md")


def test_own_items_are_in_schema_and_text(own):
    prompt = load_prompt("profile", own(with_fields()))
    assert prompt.fields == OWN
    schema, built_in = json.loads(prompt.schema), json.loads(BUILT_IN.schema)
    assert list(schema["properties"]) == schema["required"] == list(ITEMS)
    assert schema["properties"].pop("secret") == {"maxLength": 300, "minLength": 1, "title": "Secret", "type": "string"}
    assert schema["properties"].pop("favorite_food")["maxLength"] == 60
    assert schema | {"required": built_in["required"]} == built_in
    profile = parse_profile("English", PERSONA, Completion((json.dumps(ITEMS),)), own=prompt.fields)
    assert isinstance(profile, Profile)
    *_, personality, secret, food = profile.profile.split("\n")
    assert personality.startswith("Personality: She is warm")
    assert (secret, food) == ("Secret: She never learned to read.", "Favorite Food: plantain")


def test_without_own_items_nothing_changes():
    assert BUILT_IN.schema == json.dumps(ProfileFields.model_json_schema())
    assert BUILT_IN.fields == ()


def test_long_own_items_end_with_sentences(own):
    prompt = load_prompt("profile", own(with_fields()))
    request = render_profile(prompt, "English", PERSONA, ends_sentences=True)
    patterned = [name for name, item in json.loads(request.schema)["properties"].items() if "pattern" in item]
    assert patterned == ["appearance", "experience", "personality", "secret"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, None),
        ({"secret": None}, "invalid_reply"),
        ({"wish": "Bread."}, "invalid_reply"),
        ({"secret": " "}, "empty_field"),
        ({"favorite_food": "unknown"}, "placeholder"),
        ({"secret": "[Secret]"}, "placeholder"),
        ({"secret": "Bread."}, "thin"),
        ({"favorite_food": "rice"}, None),
        ({"secret": "She stole it. Then she"}, "cut_off"),
        ({"secret": "She stole it all. " * 20}, "cut_off"),
        ({"secret": ITEMS["experience"]}, "said_twice"),
        ({"secret": "She stole the bread and the salt of her aunt. " * 4}, "loop"),
        ({"favorite_food": "rice and rice " * 4}, None),
    ],
)
def test_rules_take_own_items_by_their_length(changed, reason):
    items = {name: value for name, value in (ITEMS | changed).items() if value is not None}
    check = ProfileCheck("reject", "A prompt.")
    found = parse_profile("English", PERSONA, Completion((json.dumps(items),)), check=check, own=OWN)
    assert (found.reason if isinstance(found, Reject) else None) == reason
