"""Adds every service to a server."""

import grpc

from distillfarm.controller.enrolment import Gatekeeper
from distillfarm.controller.fleet import Fleet
from distillfarm.controller.servicers.blobs import Blobs
from distillfarm.controller.servicers.devices import Devices
from distillfarm.controller.servicers.jobs import Jobs
from distillfarm.controller.servicers.matrix import Matrix
from distillfarm.controller.servicers.sessions import Enrolment, Sessions
from distillfarm.controller.servicers.studies import Studies
from distillfarm.controller.store.protocol import Store
from distillfarm.controller.studies import Studies as StudyDesk
from distillfarm.wire.blobs import BlobStore
from distillfarm.wire.v1 import services_pb2_grpc as services
from distillfarm.wire.v1.services_pb2 import DESCRIPTOR


def add_services(
    server: grpc.aio.Server,
    *,
    fleet: Fleet,
    store: Store,
    blobs: BlobStore,
    studies: StudyDesk,
    gatekeeper: Gatekeeper,
) -> list[str]:
    """Add every service to a server that has not started; gives their full names."""
    services.add_SessionsServicer_to_server(Sessions(fleet), server)
    services.add_EnrolmentServicer_to_server(Enrolment(gatekeeper), server)
    services.add_DevicesServicer_to_server(Devices(fleet), server)
    services.add_JobsServicer_to_server(Jobs(fleet, store, blobs), server)
    services.add_StudiesServicer_to_server(Studies(studies, blobs), server)
    services.add_MatrixServicer_to_server(Matrix(store), server)
    services.add_BlobsServicer_to_server(Blobs(blobs), server)
    return [service.full_name for service in DESCRIPTOR.services_by_name.values()]
