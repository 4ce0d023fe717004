"""What components need in the API server: objects as data, and the rights of our own components."""

from __future__ import annotations

from typing import Any

import msgspec

AUTHORIZATION = "/apis/rbac.authorization.k8s.io/v1"


class ApiObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object of the API server. `collection` is the path of its kind, `content` the whole object without a status.

    With `only_made` it is made where it is missing and otherwise left as its users have it; else it is made to be as
    `content` says, at each start.
    """

    collection: str
    content: dict[str, Any]
    only_made: bool = False

    @property
    def name(self) -> str:
        """The object's name."""
        name: str = self.content["metadata"]["name"]
        return name


def rule(group: str, resources: str, verbs: str) -> dict[str, Any]:
    """A rule of a role: resources of an API group ("" is the core), and verbs, each with spaces between."""
    return {"apiGroups": [group], "resources": resources.split(), "verbs": verbs.split()}


def cluster_rights(user: str, *rules: dict[str, Any]) -> tuple[ApiObject, ApiObject]:
    """A ClusterRole with these rules, and its binding to a user; both are named as the user."""
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": user},
        "rules": list(rules),
    }
    return (
        ApiObject(collection=f"{AUTHORIZATION}/clusterroles", content=role),
        bound(user, user),
    )


def bound(user: str, role: str) -> ApiObject:
    """The binding of a ClusterRole to a user, named as the user, or as both where the role is upstream's."""
    return ApiObject(
        collection=f"{AUTHORIZATION}/clusterrolebindings",
        content={
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": user if role == user else f"{user}:{role}"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        },
    )
