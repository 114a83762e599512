"""The Studies service."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from distillfarm.controller.enrolment import only_users
from distillfarm.controller.requests import check_study
from distillfarm.controller.studies import Studies as StudyDesk
from distillfarm.domain.study import StudySpec
from distillfarm.wire.blobs import BlobStore
from distillfarm.wire.convert import from_message, to_message
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1 import study_pb2
from distillfarm.wire.v1.services_pb2_grpc import StudiesServicer


class Studies(StudiesServicer):
    """See services.proto."""

    def __init__(self, studies: StudyDesk, blobs: BlobStore) -> None:
        self._studies = studies
        self._blobs = blobs

    async def CreateStudy(self, request: pb.CreateStudyRequest, context: Any) -> study_pb2.Study:
        only_users()
        spec, key = from_message(request.spec, StudySpec), request.idempotency_key
        await asyncio.to_thread(check_study, spec, key, self._blobs)
        return to_message(await self._studies.create(spec, key), study_pb2.Study)

    async def GetStudy(self, request: pb.GetStudyRequest, context: Any) -> study_pb2.Study:
        return to_message(await self._studies.get(request.study_id), study_pb2.Study)

    async def ListStudies(
        self, request: pb.ListStudiesRequest, context: Any
    ) -> pb.ListStudiesReply:
        studies = await self._studies.all()
        return pb.ListStudiesReply(studies=[to_message(each, study_pb2.Study) for each in studies])

    async def CancelStudy(self, request: pb.CancelStudyRequest, context: Any) -> study_pb2.Study:
        only_users()
        return to_message(await self._studies.cancel(request.study_id), study_pb2.Study)

    async def WatchStudy(
        self, request: pb.WatchStudyRequest, context: Any
    ) -> AsyncIterator[study_pb2.StudyEvent]:
        async for event in self._studies.watch(request.study_id, request.after_sequence):
            yield to_message(event, study_pb2.StudyEvent)

    async def ListTrials(
        self, request: pb.ListTrialsRequest, context: Any
    ) -> AsyncIterator[study_pb2.Trial]:
        for trial in await self._studies.trials(request.study_id):
            yield to_message(trial, study_pb2.Trial)
