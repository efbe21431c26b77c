"""CategoryService: the kinds of notifications an app sends."""

from clarion.category.v1 import category_service_pb2 as pb
from clarion_client._rpc import ServiceContract

_contract = ServiceContract(pb.DESCRIPTOR, "CategoryService")


class CategoryCalls:
    """Categories of the caller's app."""

    @_contract.rpc("PutCategory", pb.PutCategoryRequest, pb.PutCategoryResponse)
    def put(self, category: pb.Category) -> pb.PutCategoryRequest:
        """Creates or replaces a category; gives it with its defaults. Raises InvalidArgument (INVALID_FIELD)."""
        return pb.PutCategoryRequest(category=category)

    @_contract.rpc("ListCategories", pb.ListCategoriesRequest, pb.ListCategoriesResponse)
    def list(self) -> pb.ListCategoriesRequest:
        """The app's categories by name."""
        return pb.ListCategoriesRequest()
