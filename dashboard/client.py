"""The backend's API as typed calls: contracts in, contracts out."""

from urllib.parse import quote

from dashboard.data_api import DataApi
from fedmem.contracts import (
    AbTest,
    AbTestList,
    AbTestRequest,
    Experiment,
    ExperimentPage,
    ItemMap,
    Job,
    JobDefaults,
    JobLogs,
    JobMetrics,
    JobPage,
    JobRequest,
    LeakReport,
    Live,
    LogLine,
    ModelHistory,
    ModelPage,
    ModelVersion,
    OnlineEvaluation,
    PrototypeRound,
    Ready,
    RecommendationRequest,
    RecommendationResponse,
    RemovableJob,
    RowGrowth,
    Schedule,
    ScheduleList,
    ScheduleRequest,
    ScheduleUpdate,
    ScoreShares,
    TrainerList,
    TransitionRows,
)

ROUNDS_AT_ONCE = 1000
LIMIT = 500  # of jobs and of models that the API tells at once
LAST_ID = 2**63 - 1


class ApiClient(DataApi):
    """All calls."""

    def jobs(self, limit: int = 50) -> JobPage:
        """List jobs, newest first; at most LIMIT of them."""
        return self._get(JobPage, "/jobs", limit=limit)

    def job(self, job_id: int) -> Job:
        """Get one job as it is now."""
        return self._get(Job, f"/jobs/{job_id}")

    def metrics(self, job_id: int, after_round: int = -1, limit: int = ROUNDS_AT_ONCE) -> JobMetrics:
        """List at most ``limit`` rounds after one, in order."""
        return self._get(JobMetrics, f"/jobs/{job_id}/metrics", after_round=after_round, limit=limit)

    def logs(self, job_id: int, after: int) -> tuple[LogLine, ...]:
        """List the lines of a job's log after one, in order."""
        return self._get(JobLogs, f"/jobs/{job_id}/logs", after=after, limit=1000).lines

    def earlier_logs(self, job_id: int, before: int | None, limit: int) -> tuple[LogLine, ...]:
        """List the last lines of a job's log before one, or of all, in order."""
        return self._get(JobLogs, f"/jobs/{job_id}/logs", before=before or LAST_ID, limit=limit).lines

    def leaks(self, job_id: int) -> LeakReport:
        """Look up what attacks on a job's messages found out; RefusedError where none were made."""
        return self._get(LeakReport, f"/jobs/{job_id}/leaks")

    def job_defaults(self, dataset: str) -> JobDefaults:
        """Get the settings of a job of a data set whose request says none."""
        return self._get(JobDefaults, "/jobs/defaults", dataset=dataset)

    def create_job(self, request: JobRequest, idempotency_key: str) -> Job:
        """Queue a job; the same key again answers with the same job."""
        return self._post(Job, "/jobs", request, {"Idempotency-Key": idempotency_key})

    def stop(self, job_id: int) -> Job:
        """End a job with a checkpoint."""
        return self._post(Job, f"/jobs/{job_id}/stop")

    def pause(self, job_id: int) -> Job:
        """Pause a job."""
        return self._post(Job, f"/jobs/{job_id}/pause")

    def resume(self, job_id: int) -> Job:
        """Resume a paused job."""
        return self._post(Job, f"/jobs/{job_id}/resume")

    def removable(self, job_id: int) -> RemovableJob:
        """Ask what removing a job would free; RefusedError says why it cannot be."""
        return self._get(RemovableJob, f"/jobs/{job_id}/removal")

    def delete_job(self, job_id: int) -> None:
        """Remove an ended job with its models and its folder."""
        self._delete(f"/jobs/{job_id}")

    def schedules(self) -> ScheduleList:
        """List the schedules in the order in which they were added."""
        return self._get(ScheduleList, "/schedules")

    def create_schedule(self, request: ScheduleRequest) -> Schedule:
        """Add a schedule."""
        return self._post(Schedule, "/schedules", request)

    def update_schedule(self, schedule_id: int, update: ScheduleUpdate) -> Schedule:
        """Change what of a schedule is given."""
        return self._post(Schedule, f"/schedules/{schedule_id}", update, method="PATCH")

    def run_schedule(self, schedule_id: int) -> Job:
        """Queue the job of a schedule at once."""
        return self._post(Job, f"/schedules/{schedule_id}/run")

    def remove_schedule(self, schedule_id: int) -> None:
        """Remove a schedule."""
        self._delete(f"/schedules/{schedule_id}")

    def models(self) -> ModelPage:
        """List model versions, newest first and at most LIMIT of them, and which ones serve."""
        return self._get(ModelPage, "/models", limit=LIMIT)

    def activate(self, version: str) -> ModelVersion:
        """Serve this model version."""
        return self._post(ModelVersion, f"/models/{version}/activate")

    def roll_back(self, dataset: str) -> ModelVersion:
        """Serve again what served a data set before."""
        return self._post(ModelVersion, f"/models/rollback?dataset={quote(dataset, safe='')}")

    def model_history(self) -> ModelHistory:
        """List what served when, the newest first and at most LIMIT of it."""
        return self._get(ModelHistory, "/models/history", limit=LIMIT)

    def online(self, dataset: str, days: float) -> OnlineEvaluation:
        """Get what became of the noted answers of the last days."""
        return self._get(OnlineEvaluation, "/evaluation/online", dataset=dataset, days=days)

    def ab_tests(self, dataset: str) -> AbTestList:
        """List a data set's newest A/B tests with what they have shown."""
        return self._get(AbTestList, "/ab-tests", dataset=dataset)

    def start_ab_test(self, treatment: str, share: float) -> AbTest:
        """Let a model answer a share of its data set's users."""
        return self._post(AbTest, "/ab-tests", AbTestRequest(treatment=treatment, share=share))

    def stop_ab_test(self, test_id: int) -> AbTest:
        """Let the model in service answer all users again."""
        return self._post(AbTest, f"/ab-tests/{test_id}/stop")

    def live(self) -> Live:
        """Ask whether the backend's process answers."""
        return self._get(Live, "/health/live")

    def ready(self) -> Ready:
        """Ask which models answer; RefusedError says what is missing."""
        return self._get(Ready, "/health/ready")

    def experiments(self) -> ExperimentPage:
        """List what the command line's experiments have left, the newest first."""
        return self._get(ExperimentPage, "/experiments")

    def experiment(self, name: str) -> Experiment:
        """Get one experiment with what it holds."""
        return self._get(Experiment, f"/experiments/{quote(name, safe='')}")

    def trainers(self) -> TrainerList:
        """List the trainer processes, the one heard from last first."""
        return self._get(TrainerList, "/trainers")

    def recommend(self, user_id: str, k: int, dataset: str, *, memory: bool = True) -> RecommendationResponse:
        """Recommend to a known user, with the parts of each score; ``memory`` is their own and the global one."""
        path = f"/recommend/{quote(user_id, safe='')}"
        return self._get(RecommendationResponse, path, k=k, explain=True, memory=memory, dataset=dataset)

    def recommend_for(self, request: RecommendationRequest, dataset: str) -> RecommendationResponse:
        """Recommend for a history; nothing of it is stored."""
        return self._post(RecommendationResponse, f"/recommend?dataset={quote(dataset, safe='')}", request)

    def prototypes(self, job_id: int, round: int | None = None) -> PrototypeRound:
        """Get the global prototypes after a round, by default the last one kept."""
        return self._get(PrototypeRound, "/memory/prototypes", job=job_id, round=round)

    def recommend_by_prototype(self, index: int, k: int, model: str) -> RecommendationResponse:
        """Recommend to an unknown user as if the global memory were this prototype alone."""
        path = f"/memory/prototypes/{index}/recommendations"
        return self._get(RecommendationResponse, path, k=k, model=model)

    def transitions(self, model: str, item_id: str | None = None, followers: int = 5) -> TransitionRows:
        """Get the strongest rows of a model's transition memory, or the row of one item."""
        return self._get(TransitionRows, "/memory/transitions", model=model, item_id=item_id, followers=followers)

    def growth(self, job_id: int, item_id: str) -> RowGrowth:
        """Get how the greatest entries of a row of a job's transition memory grew."""
        return self._get(RowGrowth, "/memory/transitions/growth", job=job_id, item_id=item_id)

    def shares(self, job_id: int) -> ScoreShares:
        """Get the share of each part in what puts items ahead, of the model that a job left."""
        return self._get(ScoreShares, "/memory/shares", job=job_id)

    def item_map(self, job_id: int) -> ItemMap:
        """Get the items on the map of a job's prototypes."""
        return self._get(ItemMap, "/memory/map", job=job_id)
