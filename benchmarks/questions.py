"""Seeded questions that a model of 135 million parameters can sometimes answer, with their answers.

Four sets: times tables to 12, one-step word problems, capitals, multiple choice on everyday facts. All are
made here from plain tables, so that no data set has to be fetched and the answers are beyond doubt.

    python benchmarks/questions.py "times tables" "word problems" --count 100 > questions.jsonl

writes them for ``ttc record``.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from typing import Literal

import msgspec

__all__ = ["SETS", "Question", "questions"]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question, its task kind and its only right answer."""

    text: str
    gold: str
    task: Literal["math", "choice", "open"]


NAMES = ("Ana", "Ben", "Chen", "Dora", "Emil", "Fatima", "Goran", "Hana", "Ivan", "June")
THINGS = ("apples", "books", "coins", "pencils", "marbles", "stickers", "eggs", "cards")
CAPITALS = (
    ("France", "Paris"),
    ("Germany", "Berlin"),
    ("Italy", "Rome"),
    ("Spain", "Madrid"),
    ("Portugal", "Lisbon"),
    ("Austria", "Vienna"),
    ("Greece", "Athens"),
    ("Poland", "Warsaw"),
    ("Hungary", "Budapest"),
    ("Norway", "Oslo"),
    ("Sweden", "Stockholm"),
    ("Finland", "Helsinki"),
    ("Denmark", "Copenhagen"),
    ("Ireland", "Dublin"),
    ("Russia", "Moscow"),
    ("Ukraine", "Kyiv"),
    ("Turkey", "Ankara"),
    ("Egypt", "Cairo"),
    ("Kenya", "Nairobi"),
    ("Morocco", "Rabat"),
    ("Nigeria", "Abuja"),
    ("Ethiopia", "Addis Ababa"),
    ("Japan", "Tokyo"),
    ("China", "Beijing"),
    ("South Korea", "Seoul"),
    ("India", "New Delhi"),
    ("Thailand", "Bangkok"),
    ("Vietnam", "Hanoi"),
    ("Indonesia", "Jakarta"),
    ("Philippines", "Manila"),
    ("Malaysia", "Kuala Lumpur"),
    ("Pakistan", "Islamabad"),
    ("Iran", "Tehran"),
    ("Iraq", "Baghdad"),
    ("Saudi Arabia", "Riyadh"),
    ("Israel", "Jerusalem"),
    ("Australia", "Canberra"),
    ("New Zealand", "Wellington"),
    ("Canada", "Ottawa"),
    ("Mexico", "Mexico City"),
    ("Cuba", "Havana"),
    ("Brazil", "Brasilia"),
    ("Argentina", "Buenos Aires"),
    ("Chile", "Santiago"),
    ("Peru", "Lima"),
    ("Colombia", "Bogota"),
    ("Ecuador", "Quito"),
    ("Uruguay", "Montevideo"),
    ("Belgium", "Brussels"),
    ("the Netherlands", "Amsterdam"),
    ("Switzerland", "Bern"),
    ("Bulgaria", "Sofia"),
    ("Romania", "Bucharest"),
    ("Serbia", "Belgrade"),
    ("Croatia", "Zagreb"),
    ("Iceland", "Reykjavik"),
)
FACTS = (
    ("Which animal says meow?", "cat", ("dog", "cow", "horse")),
    ("Which animal gives us milk and says moo?", "cow", ("cat", "duck", "wolf")),
    ("What do bees make?", "honey", ("milk", "bread", "silk")),
    ("What colour is a ripe banana?", "yellow", ("blue", "black", "purple")),
    ("What colour is fresh grass?", "green", ("red", "pink", "white")),
    ("What is frozen water called?", "ice", ("steam", "sand", "oil")),
    ("What falls from clouds as water?", "rain", ("sand", "leaves", "stones")),
    ("Which star gives the Earth its light?", "the Sun", ("the Moon", "Mars", "Venus")),
    ("Which planet do we live on?", "Earth", ("Jupiter", "Saturn", "Neptune")),
    ("Which of these is a fruit?", "apple", ("chair", "hammer", "shirt")),
    ("Which of these can fly?", "bird", ("table", "fish", "snake")),
    ("Which of these lives in water?", "fish", ("camel", "eagle", "goat")),
    ("How many legs does a spider have?", "eight", ("two", "four", "six")),
    ("How many days are in a week?", "seven", ("five", "nine", "ten")),
    ("How many wheels does a bicycle have?", "two", ("five", "seven", "nine")),
    ("Which season is the coldest?", "winter", ("summer", "spring", "autumn")),
    ("What do we use to cut paper?", "scissors", ("a spoon", "a pillow", "a cup")),
    ("What do we use to tell the time?", "a clock", ("a fork", "a shoe", "a brick")),
    ("Where do books stand in a town?", "library", ("bakery", "garage", "stable")),
    ("Who treats sick people?", "a doctor", ("a baker", "a pilot", "a painter")),
    ("Who flies an aeroplane?", "a pilot", ("a farmer", "a tailor", "a judge")),
    ("What is the opposite of hot?", "cold", ("warm", "dry", "loud")),
    ("What is the opposite of up?", "down", ("left", "over", "near")),
    ("What is the opposite of big?", "small", ("tall", "wide", "heavy")),
    ("Which language is spoken in Spain?", "Spanish", ("Chinese", "Hindi", "Swedish")),
    ("Which continent is Egypt in?", "Africa", ("Europe", "Asia", "Australia")),
    ("Which continent is Japan in?", "Asia", ("Africa", "Europe", "South America")),
    ("Which gas do we need to breathe?", "oxygen", ("helium", "neon", "argon")),
    ("Which metal is used for wires?", "copper", ("wood", "glass", "paper")),
    ("Which organ pumps blood?", "the heart", ("the lung", "the ear", "the skin")),
    ("Which organ do we see with?", "the eye", ("the nose", "the hand", "the foot")),
    ("Which of these is a musical instrument?", "piano", ("ladder", "bucket", "carpet")),
    ("Which of these is a vegetable?", "carrot", ("stone", "pencil", "bottle")),
    ("Which of these is the largest animal?", "whale", ("ant", "mouse", "rabbit")),
    ("Which of these is the fastest?", "cheetah", ("snail", "turtle", "worm")),
    ("What do plants need to grow?", "sunlight", ("plastic", "metal", "smoke")),
    ("What is bread made from?", "flour", ("sand", "iron", "wool")),
    ("What do we wear on our feet?", "shoes", ("gloves", "hats", "scarves")),
    ("What do we wear on our hands in winter?", "gloves", ("socks", "belts", "ties")),
    ("Which ocean is the largest?", "the Pacific", ("the Arctic", "the Indian", "the Baltic")),
    ("What is 2 plus 2?", "4", ("3", "5", "22")),
    ("What is half of ten?", "5", ("2", "4", "20")),
    ("Which shape has three sides?", "triangle", ("square", "circle", "cube")),
    ("Which shape is round?", "circle", ("square", "triangle", "rectangle")),
    ("Which month comes after May?", "June", ("April", "March", "October")),
    ("Which day comes after Monday?", "Tuesday", ("Sunday", "Friday", "Thursday")),
    ("What is the first month of the year?", "January", ("May", "July", "December")),
    ("What do cows eat?", "grass", ("stones", "coins", "glass")),
    ("What is snow?", "frozen water", ("salt", "sugar", "paper")),
    ("What shines at night in the sky?", "the Moon", ("a tree", "a river", "a road")),
    ("What do we read the news in?", "newspaper", ("a pan", "a pillow", "a plate")),
    ("What do we sleep on?", "a bed", ("a stove", "a door", "a lamp")),
)


def questions(name: str, count: int, seed: int) -> list[Question]:
    """``count`` different questions of the set ``name``; other seeds give other questions."""
    rng = random.Random(f"{name}:{seed}")
    made: dict[str, Question] = {}
    while len(made) < count:
        question = SETS[name](rng)
        made.setdefault(question.text, question)
    return list(made.values())


def _times_table(rng: random.Random) -> Question:
    first, second = rng.randint(2, 12), rng.randint(2, 12)
    return Question(text=f"What is {first} times {second}?", gold=str(first * second), task="math")


def _word_problem(rng: random.Random) -> Question:
    name, thing = rng.choice(NAMES), rng.choice(THINGS)
    first, second = rng.randint(3, 20), rng.randint(2, 12)
    stories = (
        (f"{name} has {first} {thing} and gets {second} more.", first + second),
        (
            f"{name} has {first + second} {thing} and gives {second} away.",
            first,
        ),
        (f"{name} buys {second} boxes with {first} {thing} in each.", first * second),
    )
    story, gold = rng.choice(stories)
    asked = f"How many {thing} does {name} have now?"
    return Question(text=f"{story} {asked}", gold=str(gold), task="math")


def _capital(rng: random.Random) -> Question:
    country, city = rng.choice(CAPITALS)
    ask = rng.choice(
        (
            "What is the capital of {}? Answer with the name of the city only.",
            "Name the capital city of {}. Answer with the name only.",
        )
    )
    return Question(text=ask.format(country), gold=city, task="open")


def _choice(rng: random.Random) -> Question:
    ask, right, wrong = rng.choice(FACTS)
    options = [right, *wrong]
    rng.shuffle(options)
    lines = [f"{letter}) {option}" for letter, option in zip("ABCD", options, strict=True)]
    return Question(
        text="\n".join([ask, *lines, "Answer with the letter only."]),
        gold="ABCD"[options.index(right)],
        task="choice",
    )


SETS: dict[str, Callable[[random.Random], Question]] = {
    "times tables": _times_table,
    "word problems": _word_problem,
    "capitals": _capital,
    "multiple choice": _choice,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="questions for ttc record")
    parser.add_argument("sets", nargs="+", choices=SETS)
    parser.add_argument("--count", type=int, default=100, help="of each set")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in options.sets:
        for place, one in enumerate(questions(name, options.count, options.seed)):
            line = {"dataset": name, "question_id": f"{name} {place}"}
            print(json.dumps({**line, "question": one.text, "gold": one.gold}))


if __name__ == "__main__":
    main()
