from __future__ import annotations

from mpchat.supervisor.answers import Answers


def test_only_the_oldest_question_is_late_and_each_has_its_own_limit() -> None:
    answers = Answers()
    assert answers.due is None
    answers.ask(30.0, 100.0)
    answers.ask(5.0, 101.0)
    assert answers.due == 130.0
    answers.answered(120.0)
    assert answers.due == 125.0
    answers.answered(121.0)
    assert answers.due is None
    assert answers.idle_since() == 121.0


def test_an_answer_that_nobody_asked_for_changes_nothing() -> None:
    answers = Answers()
    answers.answered(1.0)
    answers.ask(5.0, 2.0)
    assert answers.due == 7.0


def test_after_a_pause_of_our_own_it_has_its_whole_time_again() -> None:
    answers = Answers()
    answers.ask(5.0, 0.0)
    answers.postpone(60.0)
    assert answers.due == 65.0
