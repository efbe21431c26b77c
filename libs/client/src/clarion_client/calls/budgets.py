"""BudgetService: how many segments of SMS an app may send; needs the scope `admin`."""

from clarion.budget.v1 import budget_service_pb2 as pb
from clarion_client._rpc import ServiceContract

_contract = ServiceContract(pb.DESCRIPTOR, "BudgetService")


class BudgetCalls:
    """SMS budgets. One is named by its country, or by its prefix; by neither: of all other countries."""

    @_contract.rpc("PutSmsBudget", pb.PutSmsBudgetRequest, pb.PutSmsBudgetResponse)
    def put(self, app: str, budget: pb.SmsBudget) -> pb.PutSmsBudgetRequest:
        """Creates or replaces a budget. Raises InvalidArgument (INVALID_FIELD), NotFound (APP_NOT_FOUND)."""
        return pb.PutSmsBudgetRequest(app=app, budget=budget)

    @_contract.rpc("ListSmsBudgets", pb.ListSmsBudgetsRequest, pb.ListSmsBudgetsResponse)
    def list(self, app: str) -> pb.ListSmsBudgetsRequest:
        """The app's budgets and what is used of them. Raises NotFound (APP_NOT_FOUND)."""
        return pb.ListSmsBudgetsRequest(app=app)

    @_contract.rpc("DeleteSmsBudget", pb.DeleteSmsBudgetRequest, pb.DeleteSmsBudgetResponse)
    def delete(self, app: str, *, country: str = "", prefix: str = "") -> pb.DeleteSmsBudgetRequest:
        """Removes a budget; repeating it is harmless. Raises NotFound (APP_NOT_FOUND)."""
        return pb.DeleteSmsBudgetRequest(app=app, country=country, prefix=prefix)
