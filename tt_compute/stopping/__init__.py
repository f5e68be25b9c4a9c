"""When the samples so far are enough: stop rules, each a small pure function of the votes or the scores.

A rule sees ``counts``, the votes of each answer, in any order; one whose ``sees`` is "order" needs ``Votes``.
Two things can end a vote early, and ``decided`` asks both:

* the rule is satisfied (``StopRule.settled``);
* the leader can no longer be caught within the budget (``certain``): the rest of the samples could only
  confirm it, so that stopping there never changes the answer, whatever the rule.

``fewest_more`` tells how many further samples could end the run at the earliest. A wave of that size is
never wasteful: one-by-one drawing would have drawn every one of its samples too. ``worth_drawing`` adds those
that will likely be needed, for whoever would rather wait less than draw less.
"""

from tt_compute.stopping.agreement import AgreementRule
from tt_compute.stopping.ahead import worth_drawing
from tt_compute.stopping.beta import BETA_THRESHOLD, BetaRule, beta_posterior
from tt_compute.stopping.certainty import (
    CertainRule,
    certain,
    certain_by_weight,
    fewest_until_certain_by_weight,
)
from tt_compute.stopping.dirichlet import DirichletRule, dirichlet_posterior
from tt_compute.stopping.drawing import decided, fewest_more
from tt_compute.stopping.esc import EscRule, esc_samples
from tt_compute.stopping.gate import GATE, gate_of
from tt_compute.stopping.lead import LeadRule
from tt_compute.stopping.names import (
    SCORE_RULES,
    STOP_RULES,
    is_score_rule,
    parse_score_rule,
    parse_stop_rule,
)
from tt_compute.stopping.pandora import PandoraRule, fair_cap
from tt_compute.stopping.ppr import OpenPprRule, PprRule, ppr_ratio
from tt_compute.stopping.quorum import fewest_to_agree
from tt_compute.stopping.rule import ScoreRule, StopRule, Thresholded
from tt_compute.stopping.sprt import SprtRule
from tt_compute.stopping.threshold import ThresholdRule
from tt_compute.stopping.votes import NO_VOTE, Votes, top_two

__all__ = [
    "BETA_THRESHOLD",
    "GATE",
    "NO_VOTE",
    "SCORE_RULES",
    "STOP_RULES",
    "AgreementRule",
    "BetaRule",
    "CertainRule",
    "DirichletRule",
    "EscRule",
    "LeadRule",
    "OpenPprRule",
    "PandoraRule",
    "PprRule",
    "ScoreRule",
    "SprtRule",
    "StopRule",
    "ThresholdRule",
    "Thresholded",
    "Votes",
    "beta_posterior",
    "certain",
    "certain_by_weight",
    "decided",
    "dirichlet_posterior",
    "esc_samples",
    "fair_cap",
    "fewest_more",
    "fewest_to_agree",
    "fewest_until_certain_by_weight",
    "gate_of",
    "is_score_rule",
    "parse_score_rule",
    "parse_stop_rule",
    "ppr_ratio",
    "top_two",
    "worth_drawing",
]
