"""The questions that metrics answer, in the order in which a report asks them; a metric may ask one of its own."""

RECONSTRUCTION = "How near are the images to the originals?"
DISTRIBUTION = "How near is their distribution to the real one?"
LATENT_SPACE = "What has the latent space learnt?"
PRIOR = "Does the posterior fit the prior?"
VARIETY = "Are samples varied, and new?"
EVENNESS = "Does the latent space change evenly?"
MANIPULATION = "What can be done in latent space?"
COST = "What did it cost?"
OTHER = "What else was measured?"

ORDER = (RECONSTRUCTION, DISTRIBUTION, LATENT_SPACE, PRIOR, VARIETY, EVENNESS, MANIPULATION, COST)

LABELS = {
    RECONSTRUCTION: "likeness",
    DISTRIBUTION: "distribution",
    LATENT_SPACE: "latent space",
    PRIOR: "prior",
    VARIETY: "variety",
    EVENNESS: "evenness",
    MANIPULATION: "manipulation",
    COST: "cost",
}  # where a line has no room for a question


def label(question: str) -> str:
    """Return a word or two for a question: vaebench's own, or the first words of another."""
    return LABELS.get(question) or " ".join(question.rstrip("?").split()[:2])


def place(question: str) -> tuple[int, str]:
    """Sort key of a question: vaebench's own first, then those of plugins by their text, then :data:`OTHER`."""
    if question in ORDER:
        return ORDER.index(question), ""
    return len(ORDER) + (question == OTHER), question
