"""Commands about sealed rooms: those that change a group are signed here, those that make a room make it sealed.

The rule: what a person types is the same for open and sealed rooms. Where a call changes a sealed group, its proof is
signed when it is sent, not when it was typed; where somebody comes in, the entry binds the key that is known here.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, ensureDeferred

from chatd.model import Role
from client import sentences
from client.answers import Refused
from client.outbox import new_mid
from client.past import as_said

if TYPE_CHECKING:
    from client.chat import Chat
    from client.conversation import Call
    from client.view import Place

ACTIONS: Final = {
    "add": "add",
    "approve": "add",
    "remove": "remove",
    "kick": "remove",
    "ban": "ban",
    "unban": "unban",
    "promote": "promote",
    "demote": "demote",
    "transfer": "transfer",
    "leave": "leave",
    "rename": "name",
    "door": "door",
}
"""A command → what its entry in the room log is called."""
FOUND_MOST: Final = 100


class SealedCalls:
    """How one chat makes calls about sealed rooms."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self._special: Mapping[str, Callable[[Call, dict[str, Any]], Coroutine[Any, Any, dict[str, Any]]]] = {
            "dm": self._dm,
            "create": self._create,
            "join": self._join,
            "delete-account": self._delete,
        }

    def call(self, call: Call, wire: dict[str, Any], *, patient: bool = False) -> Deferred[dict[str, Any]]:
        """Make a call; its answer, as the server would give it."""
        chat = self.chat
        if not chat.talk.inside or not chat.sealed.usable:
            return chat.link.call(wire, patient=patient)
        place = chat.view.places.get(call.room) if isinstance(call.room, int) else None
        if place is None and isinstance(call.room, str):
            place = chat.view.find(call.room)
        if place is not None and place.sealed and place.kind == "group" and call.do in ACTIONS:
            return ensureDeferred(self._change(call, wire, place.id))
        if place is not None and place.sealed and call.do == "search":
            return ensureDeferred(self._search(call, place.id))
        if place is not None and place.sealed and place.kind == "group" and call.do in ("members", "admins"):
            return ensureDeferred(self._members(wire, place))
        if place is not None and place.sealed and call.do == "history":
            return ensureDeferred(self._history(wire, place))
        if call.do in self._special and not call.fields.get("open"):
            return ensureDeferred(self._special[call.do](call, wire))
        return chat.link.call(wire, patient=patient)

    async def _ask(self, wire: Mapping[str, Any], *, patient: bool = False) -> dict[str, Any]:
        answer: dict[str, Any] = await self.chat.link.call(wire, patient=patient)
        return answer

    # -- rooms that are made ------------------------------------------------------------------------------------------

    async def _dm(self, call: Call, wire: dict[str, Any]) -> dict[str, Any]:
        """A conversation: the sealed one whenever the other one has keys."""
        from client.keyring import folded

        user = call.fields.get("user")
        if not user:
            return await self._ask(wire)
        number = await self.chat.sealed.conversation(str(user))
        if not number and call.fields.get("sealed"):
            raise Refused({"code": "NO_KEYS", "text": sentences.NO_KEYS.format(name=folded(str(user)))})
        answer = await self._ask({**wire, "sealed": bool(number)})
        if not number:
            return answer
        place = self.chat.view.places[number]
        return {**answer, "room_id": number, "room": place.name, "sealed": True}

    async def _create(self, call: Call, wire: dict[str, Any]) -> dict[str, Any]:
        """A group, sealed, with these people in it from the start."""
        if not call.fields.get("room"):
            return await self._ask(wire)
        sealed = self.chat.sealed
        await sealed.settled()
        people, keyless, unknown = await self._people([str(word) for word in call.fields.get("people", ())])
        name = f"#{str(call.fields['room']).removeprefix('#').lower()}"
        proofs = sealed.courier.created(name, self.chat.default_door, list(people))
        answer = await self._ask({**wire, "sealed": True, "people": list(people), "proofs": proofs})
        if people:
            self.chat.sealed.run(sealed.courier.welcome(int(answer["room_id"]), list(people)))
        if keyless:
            self.chat.notice(*(sentences.NO_KEYS_HERE.format(name=name) for name in keyless), style="class:error")
        return {**answer, "sealed": True, "unknown": [*answer.get("unknown", ()), *unknown]}

    async def _people(self, typed: list[str]) -> tuple[dict[int, str], list[str], list[str]]:
        """These people by account; who of them has no keys; who does not exist."""
        found: dict[int, str] = {}
        keyless, unknown = [], []
        for word in typed:
            who = await self.chat.sealed.courier.whom(word)
            if who is not None:
                found |= [who] if who[0] != self.chat.view.account else []
            else:
                try:
                    await self._ask({"do": "manifest", "user": word})
                    keyless.append(word)
                except Refused:
                    unknown.append(word)
        return found, keyless, unknown

    async def _join(self, call: Call, wire: dict[str, Any]) -> dict[str, Any]:
        """A group that may exist or not, be sealed or not, have its door open or not: the server tells which."""
        room = call.fields.get("room")
        sealed = self.chat.sealed
        place = self.chat.view.find(str(room)) if room else None
        if not room or place is not None or sealed.unlinked:
            return await self._ask(wire)
        await sealed.settled()
        courier = sealed.courier
        name = f"#{str(room).removeprefix('#').lower()}"
        asked = {
            **wire,
            "ak": courier.ak(self.chat.view.account),
            "proofs": courier.created(name, self.chat.default_door, []),
        }
        try:
            return await self._ask(asked)
        except Refused as refused:
            if refused.code != "STALE":
                raise
        answer = await self._ask({"do": "roomlog", "room": name})
        about = {**wire, "ak": courier.ak(self.chat.view.account)}
        return await courier.change(about, answer["room_id"], "join", target=self.chat.view.account)

    # -- groups that are changed --------------------------------------------------------------------------------------

    async def _change(self, call: Call, wire: dict[str, Any], number: int) -> dict[str, Any]:
        """A change of a sealed group, signed. What lacks an argument is asked for by the server, as ever."""
        sealed, action = self.chat.sealed, ACTIONS[call.do]
        await sealed.settled()
        if call.do in ("leave", "rename", "door"):
            value = str(call.fields.get("name") or call.fields.get("door") or "").lower()
            if call.do != "leave" and not value:
                return await self._ask(wire)
            if call.do == "rename":
                value = f"#{value.removeprefix('#')}"
            return await sealed.courier.change(wire, number, action, value=value)
        if call.do == "transfer" and not call.confirmed:
            return await self._ask(wire)
        if call.do == "approve":
            return await self._approve(call, wire, number)
        user = call.fields.get("user")
        return await self._about(str(user), wire, number, action) if user else await self._ask(wire)

    async def _about(
        self, user: str, wire: Mapping[str, Any], number: int, action: str, *, asked: str | None = None
    ) -> dict[str, Any]:
        """A change that is about somebody. `asked`: the key with which they asked to be let in."""
        courier = self.chat.sealed.courier
        who = await courier.whom(user)
        if who is None:
            await self._ask({"do": "manifest", "user": user})  # no such person?
            raise Refused({"code": "NO_KEYS", "text": sentences.NO_KEYS_HERE.format(name=user)})
        account = who[0]
        if asked and asked != courier.ak(account):
            raise Refused({"code": "KEY_CHANGED", "text": sentences.OTHER_KEY.format(name=user)})
        done = await courier.change(wire, number, action, target=account)
        if action == "add":
            await courier.welcome(number, [account])
        return done

    async def _approve(self, call: Call, wire: dict[str, Any], number: int) -> dict[str, Any]:
        """Let in whoever asks: one, the only one, or all, each by an entry of their own."""
        user = call.fields.get("who")
        asking = (await self._ask({"do": "requests", "room": number}))["requests"]
        by_number = {str(place): request for place, request in enumerate(asking, 1)}
        if user == "all" or (not user and len(asking) == 1):
            wanted = asking
        elif str(user) in by_number:
            wanted = [by_number[str(user)]]
        else:
            wanted = [request for request in asking if request["name"] == str(user or "").lower().removeprefix("@")]
        if not wanted:
            return await self._ask(wire)
        answer: dict[str, Any] = {}
        for request in wanted:
            about = {**wire, "who": request["name"]} | ({} if request is wanted[0] else {"mid": new_mid()})
            answer = await self._about(str(request["name"]), about, number, "add", asked=request.get("ak"))
        return answer

    async def _delete(self, call: Call, wire: dict[str, Any]) -> dict[str, Any]:
        """The account goes: first its own word in every sealed group that it leaves."""
        sealed = self.chat.sealed
        if "password" not in call.fields or sealed.unlinked:
            return await self._ask(wire, patient=True)
        leaves = {}
        for place in list(self.chat.view.places.values()):
            if place.sealed and place.kind == "group":
                leaves[str(place.id)] = await sealed.courier.prove(place.id, "leave")
        return await self._ask({**wire, "leaves": leaves}, patient=True)

    # -- what lies here -----------------------------------------------------------------------------------------------

    async def _search(self, call: Call, number: int) -> dict[str, Any]:
        """Search what was opened here: the server cannot read it."""
        words = str(call.fields.get("words", "")).lower().split()
        found = []
        if words:
            for fields in self.chat.store.all(number):
                text = f"{fields.get('text') or ''} {(fields.get('data') or {}).get('name') or ''}".lower()
                if fields["ev"] in ("say", "file") and all(word in text for word in words):
                    found.append(self._line(fields))
        place = self.chat.view.places[number]
        return {
            "room": place.name,
            "room_id": number,
            "lines": found[-FOUND_MOST:],
            "words": " ".join(words),
            "more": False,
            "as": "found",
        }

    async def _members(self, wire: dict[str, Any], place: Place) -> dict[str, Any]:
        """Who is in a sealed group, and as what, is what the signed log says; the server says who is connected."""
        sealed = self.chat.sealed
        answer = await self._ask(wire)
        log = (await sealed.room(place.id)).log if sealed.ready else None
        if log is None:
            return answer
        names = {account: sealed.name_of(account) for account in log.members}
        ranked = sorted(log.members.items(), key=lambda item: (-item[1].role, item[1].ranked))
        if "members" not in answer:
            admins = [names[account] for account, member in ranked if member.role is Role.ADMIN]
            owner = next((names[account] for account, member in ranked if member.role is Role.OWNER), "")
            return {**answer, "room": place.name, "owner": owner, "admins": admins}
        told = {member.get("account"): member for member in answer["members"]}
        order = sorted(ranked, key=lambda item: list(told).index(item[0]) if item[0] in told else len(told))
        listed = [
            {**told.get(account, {"online": False}), "account": account, "role": member.role.name.lower(),
             "name": names[account] if account in told else sentences.GONE.format(name=names[account])}
            for account, member in order
        ]  # fmt: skip
        return {**answer, "room": place.name, "members": listed}

    async def _history(self, wire: dict[str, Any], place: Place) -> dict[str, Any]:
        """A page of the server's, with what is opened here; a text of the server's own is none of the room's."""
        answer = await self._ask(wire)
        told = [dict(self.chat.opening.clean(as_said(line, place))) for line in answer["lines"]]
        for fields in told:
            self.chat.past.gone(fields)
        lines = []
        for line, event in zip(answer["lines"], await self.chat.opening.opened_past(told), strict=True):
            shown = event.get("text") is not None or event["ev"] == "file"
            opened = (line.get("sealed") is not None and shown) or "warn" in event
            lines.append({**line, **self._line(event)} if opened else {**line, "text": None})
        return {**answer, "lines": lines}

    def _line(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        from client.view import as_event

        event = as_event(fields)
        return {
            "ev": event.kind,
            "seq": event.seq,
            "at": event.at,
            "by": event.by_name,
            "by_id": event.by,
            "text": event.text,
            "sealed": None,
            "proof": None,
            "mid": event.mid,
            "data": event.data,
        }
