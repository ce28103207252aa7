"""The agents of the simulated workspace."""

from collections.abc import Iterable
from dataclasses import dataclass

from retell.types import AgentListResponse, AgentResponse

from dev.simulator.bodies import AgentListQuery
from dev.simulator.clock import now_ms
from dev.simulator.errors import ApiError
from dev.simulator.filters import Test, matches, text_filter, true_filter

# The first is the agent of calls that name none.
DEFAULT_AGENTS = {
    "agent_receptionist": "Receptionist",
    "agent_survey": "Customer survey",
}


@dataclass(frozen=True)
class Agent:
    """A voice agent; its version never changes."""

    agent_id: str
    name: str
    modified_at: int
    version: int = 0


class AgentBook:
    """The agents of the simulated workspace, by id."""

    def __init__(self, names: dict[str, str]) -> None:
        # One millisecond apart, for a stable order.
        start = now_ms()
        self._agents = {
            agent_id: Agent(agent_id, name, start + number)
            for number, (agent_id, name) in enumerate(names.items())
        }

    def default(self) -> Agent:
        """Return the agent of calls that name none."""
        return next(iter(self._agents.values()))

    def get(self, agent_id: str) -> Agent:
        """Return one agent. Raises `ApiError` 422 for an unknown id, as Retell does."""
        try:
            return self._agents[agent_id]
        except KeyError as error:
            raise ApiError(422) from error

    def page(self, criteria: dict[str, object], query: AgentListQuery) -> dict[str, object]:
        """Build the answer of list-agents: one page, filtered, sorted by modification time."""
        agents = sorted(
            (agent for agent in self._agents.values() if _matches(agent, criteria)),
            key=lambda agent: agent.modified_at,
            reverse=query.sort_order == "descending",
        )
        if query.pagination_key is not None:
            ids = [agent.agent_id for agent in agents]
            if query.pagination_key not in ids:
                raise ApiError(400, "Invalid pagination_key.")
            agents = agents[ids.index(query.pagination_key) + 1 :]
        return _list_answer(agents[: query.limit], has_more=len(agents) > query.limit)


def agent_answer(agent: Agent) -> dict[str, object]:
    """Build the answer of get-agent."""
    fields = {
        "agent_id": agent.agent_id,
        "agent_name": agent.name,
        "version": agent.version,
        "is_published": True,
        "response_engine": {"type": "retell-llm", "llm_id": "llm_simulator", "version": 0},
        "voice_id": "11labs-Adrian",
        "language": "en-US",
        "last_modification_timestamp": agent.modified_at,
    }
    return AgentResponse.model_validate(fields).model_dump(mode="json", exclude_unset=True)


def _list_answer(agents: Iterable[Agent], *, has_more: bool) -> dict[str, object]:
    items = [
        {
            "agent_id": agent.agent_id,
            "agent_name": agent.name,
            "channel": "voice",
            "is_suspended": False,
            "is_transfer_agent": False,
            "tags": {},
            "user_modified_timestamp": agent.modified_at,
        }
        for agent in agents
    ]
    fields: dict[str, object] = {"items": items, "has_more": has_more}
    if has_more:
        fields["pagination_key"] = items[-1]["agent_id"]
    return AgentListResponse.model_validate(fields).model_dump(mode="json", exclude_unset=True)


def _matches(agent: Agent, criteria: dict[str, object]) -> bool:
    tests: dict[str, Test] = {
        "channel": lambda value: text_filter(value, "voice"),
        "is_transfer_agent": lambda value: true_filter(value, actual=False),
        "query": lambda value: (
            str(value).lower() in agent.name.lower() or str(value) in agent.agent_id
        ),
    }
    return matches(criteria, tests)
