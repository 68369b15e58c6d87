"""Calls about users, hosts and channels, and what an admin does to them."""

from __future__ import annotations

from typing import Any

import koji

from ..caller import Exports
from ..records import HOST_USER, NORMAL_USER, Channel, Host, User
from .host_loop import host_row
from .queries import page


class RootExports(Exports):
    def getUser(
        self, userInfo: Any = None, strict: bool = False, krb_princs: bool = True, groups: bool = False
    ) -> dict[str, Any] | None:
        del krb_princs, groups
        user = (
            self._caller.user
            if userInfo is None
            else self._db.user(userInfo)
            if strict
            else self._db.find_user(userInfo)
        )
        return None if user is None else self._user_row(user)

    def listUsers(self, userType: Any = None, queryOpts: dict[str, Any] | None = None, **more: Any) -> Any:
        del userType, more
        return page([self._user_row(user) for user in self._db.users.values()], queryOpts)

    @staticmethod
    def _user_row(user: User) -> dict[str, Any]:
        row = {"id": user.id, "name": user.name, "status": user.status, "usertype": user.usertype}
        return row | {"krb_principals": []}

    def getUserPerms(self, userID: Any = None, **more: Any) -> list[str]:
        del more
        user = self._caller.user if userID is None else self._db.user(userID)
        return [] if user is None else sorted(user.permissions)

    # -- hosts

    def getHost(self, hostInfo: Any, strict: bool = False, event: int | None = None) -> dict[str, Any] | None:
        del event
        host = self._db.host(hostInfo) if strict else self._db.find_host(hostInfo)
        return None if host is None else host_row(host)

    def listHosts(
        self,
        arches: Any = None,
        channelID: Any = None,
        ready: bool | None = None,
        enabled: bool | None = None,
        userID: int | None = None,
        queryOpts: dict[str, Any] | None = None,
    ) -> Any:
        wanted = {arches} if isinstance(arches, str) else set(arches or [])
        channel = None if channelID is None else self._db.channel(channelID)
        rows = [
            host_row(host)
            for host in self._db.hosts.values()
            if (not wanted or wanted & set(host.arches.split()))
            and (channel is None or channel.id in host.channels)
            and ready in (None, host.ready)
            and enabled in (None, host.enabled)
            and userID in (None, host.user_id)
        ]
        return page(rows, queryOpts)

    def getLastHostUpdate(self, hostID: int, ts: bool = False) -> Any:
        del ts
        return self._db.host(hostID).update_ts

    def listHostChannels(self, hostID: Any) -> list[dict[str, Any]]:
        return self.listChannels(hostID)

    def addHost(self, hostname: str, arches: Any, krb_principal: Any = None, force: bool = False) -> int:
        del krb_principal, force
        self._caller.require("host")
        if self._db.find_host(hostname) is not None:
            msg = f"host already exists: {hostname}"
            raise koji.GenericError(msg)
        user = self._db.find_user(hostname) or self._db.add(
            "users", User(self._db.next_id("users"), hostname, hostname)
        )
        user.usertype = HOST_USER
        text = arches if isinstance(arches, str) else " ".join(arches)
        host = Host(self._db.next_id("hosts"), user.id, hostname, text)
        host.channels = {channel.id for channel in self._db.channels.values() if channel.name == "default"}
        self._db.add("hosts", host)
        return host.id

    def editHost(self, hostInfo: Any, **new: Any) -> bool:
        host = self._host_for_change(hostInfo)
        for name in ("arches", "capacity"):
            if name in new:
                setattr(host, name, new[name])
        return True

    def enableHost(self, hostname: Any) -> None:
        self._host_for_change(hostname).enabled = True

    def disableHost(self, hostname: Any) -> None:
        self._host_for_change(hostname).enabled = False

    def addHostToChannel(self, hostname: Any, channel_name: str, create: bool = False, force: bool = False) -> None:
        del force
        host = self._host_for_change(hostname)
        if create and self._db.find_channel(channel_name) is None:
            self._db.add("channels", Channel(self._db.next_id("channels"), channel_name))
        host.channels.add(self._db.channel(channel_name).id)

    def removeHostFromChannel(self, hostname: Any, channel_name: str) -> None:
        host = self._host_for_change(hostname)
        host.channels.discard(self._db.channel(channel_name).id)

    def _host_for_change(self, key: Any) -> Host:
        self._caller.require("host")
        host = self._db.host(key)
        self._db.touch()
        return host

    # -- channels

    def getChannel(self, channelInfo: Any, strict: bool = False) -> dict[str, Any] | None:
        channel = self._db.channel(channelInfo) if strict else self._db.find_channel(channelInfo)
        return None if channel is None else self._channel_row(channel)

    def listChannels(self, hostID: Any = None, event: int | None = None, **more: Any) -> list[dict[str, Any]]:
        del event, more
        host = None if hostID is None else self._db.host(hostID)
        return [
            self._channel_row(channel)
            for channel in self._db.channels.values()
            if host is None or channel.id in host.channels
        ]

    @staticmethod
    def _channel_row(channel: Channel) -> dict[str, Any]:
        row = {"comment": None, "description": None, "enabled": channel.enabled}
        return row | {"id": channel.id, "name": channel.name}

    def getAllArches(self) -> list[str]:
        return sorted({arch for host in self._db.hosts.values() for arch in host.arches.split()})

    def getAllPerms(self) -> list[dict[str, Any]]:
        return [{"id": 1, "name": "admin"}, {"id": 2, "name": "repo"}, {"id": 3, "name": "host"}]

    def createUser(self, username: str, status: Any = None, krb_principal: Any = None) -> int:
        del krb_principal
        self._caller.require("admin")
        user = User(self._db.next_id("users"), username, username, NORMAL_USER, status or 0)
        self._db.add("users", user)
        return user.id
