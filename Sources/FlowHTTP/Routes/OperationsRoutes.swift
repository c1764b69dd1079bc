import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore
import Synchronization

/// The routes of health, metrics and the web UI.
struct OperationsRoutes: Sendable {
    let services: StreamServices
    let counters: any Counters
    let imports: ImportService
    let patterns: any MappingPatternStore
    let limitCounters: LimitCounters
    let bus: any EventBus
    let clock: HubClock
    let backgroundTasks: BackgroundTasks
    let loops: EventLoopContextSet
    let budgets: ConnectionBudgets
    let version: String
    let droppedLogLines: @Sendable () -> Int

    /// Adds the routes of liveness and readiness.
    func addHealth(to router: Router<HubContext>) {
        router.get("health/live") { _, _ in
            Response.json(
                .object {
                    $0.key("status"); $0.value("ok")
                })
        }
        router.get("health/ready", use: self.ready)
    }

    /// Adds `GET /metrics`.
    func addMetrics(to router: Router<HubContext>) { router.get("metrics", use: self.metrics) }

    /// Adds the files of the web UI.
    func addPage(to router: Router<HubContext>) {
        for asset in PageAsset.all {
            router.get(RouterPath(asset.path)) { request, _ in asset.response(to: request) }
        }
    }

    // MARK: Health

    /// `GET /health/ready`, for load balancers: 200 if this instance can serve streams and writes, else 503. With
    /// `?strict=1` also 503 while delivery is degraded. With `?draining=404` 404 instead of 503 while the hub drains: HAProxy
    /// then sends no new requests, and keeps open connections (`http-check disable-on-404`).
    @Sendable private func ready(_ request: Request, _ context: HubContext) async throws -> Response {
        let isDraining = self.services.isDraining
        // Reads the store, to see whether reads succeed. The delivery status shows whether the latest writes succeeded.
        var canRead = true
        do { _ = try await self.services.manager.heads(of: []) } catch { canRead = false }
        let delivery = self.services.health.delivery
        let isStoreUnavailable = !canRead || delivery == .storeAway
        let query = QueryParameters(request.querySubstring)
        let isStrict = query.first("strict") == "1"
        let unready: HTTPResponse.Status = isDraining && query.first("draining") == "404" ? .notFound : .serviceUnavailable
        let isReady = !isDraining && !isStoreUnavailable && !(isStrict && delivery != .ok)
        return .json(
            .object { writer in
                writer.key("status")
                writer.value(isReady ? "ready" : isDraining ? "draining" : isStoreUnavailable ? "store_away" : "degraded")
                writer.key("delivery")
                writer.value(delivery.rawValue)
                writer.key("revocations")
                writer.value(self.backgroundTasks.revocations.status.isCurrent ? "current" : "outdated")
                writer.key("instance")
                writer.value(self.services.instance)
                writer.key("version")
                writer.value(self.version)
                if self.clock.differs {
                    writer.key("clock_offset_seconds")
                    writer.value(Double(self.clock.difference) / 1_000)
                }
                // Both concern imports and new tokens only, so the instance stays ready.
                if self.imports.objectStoreMetrics.isFailing {
                    writer.key("objects")
                    writer.value("failing")
                }
                let failedReloads = self.services.health.failedReloads
                if !failedReloads.isEmpty {
                    writer.key("reload_failed")
                    writer.beginArray()
                    for setting in failedReloads { writer.value(setting) }
                    writer.endArray()
                }
            }, status: isReady ? .ok : unready)
    }

    // MARK: Metrics

    /// `GET /metrics`: the metrics of this instance in the format of Prometheus.
    @Sendable private func metrics(_ request: Request, _ context: HubContext) async throws -> Response {
        let (streams, requests, ordinaryConnections, snapshotBytes) = try await self.loops.counters()
        var text = MetricsText()
        text.gauge("flowhub_connections", "Open event streams.", self.services.streamCount)
        text.gauge(
            "flowhub_stream_flows", "Flows of the open event streams that have several.", self.services.streamFlowCount)
        text.gauge("flowhub_watched_flows", "Flows with a subscriber on this instance.", self.services.table.watchedFlows().count)
        text.counter("flowhub_deliveries_total", "Events written to subscribers.", streams.deliveries)
        let totals = self.counters.totals()
        text.labelled(
            "flowhub_publishes_total", "Events published on this instance.", type: "counter", label: "durable",
            [("true", totals[.eventsDurable] ?? 0), ("false", totals[.eventsTransient] ?? 0)])
        text.labelled(
            "flowhub_state_cache_total", "Flow state reads, by cache result.", type: "counter", label: "result",
            [("hit", totals[.cacheStateHit] ?? 0), ("miss", totals[.cacheStateMiss] ?? 0)])
        let checks = self.services.manager.checkCounts
        text.labelled(
            "flowhub_state_checks_total", "Flow states in memory compared with the store's version for a read, by result.",
            type: "counter", label: "result", [("current", checks.current), ("outdated", checks.outdated)])
        text.gauge("flowhub_queued_bytes", "Unsent bytes of event streams.", self.services.queuedBytesBudget.bytes)
        text.gauge("flowhub_snapshot_bytes", "Bytes of states and snapshots kept for new subscribers.", snapshotBytes)
        text.counter(
            "flowhub_slow_readers_total", "Subscriptions that fell behind, and feeds that missed a change.",
            streams.slowSubscribers)
        text.labelled(
            "flowhub_resyncs_total", "resync events sent to subscribers, by reason.", type: "counter", label: "reason",
            ResyncReason.allCases.map { ($0.rawValue, streams.resyncs[$0] ?? 0) })
        text.labelled(
            "flowhub_closings_total", "Streams closed by the hub, by reason.", type: "counter", label: "reason",
            ClosingReason.allCases.map { ($0.rawValue, streams.closings[$0] ?? 0) })
        text.labelled(
            "flowhub_refusals_total", "Streams rejected instead of opened, by reason.", type: "counter", label: "reason",
            ClosingReason.allCases.map { ($0.rawValue, self.services.refusalCounts[$0] ?? 0) })
        text.counter(
            "flowhub_phantom_events_total", "Events received and dropped, because their version was above the store's.",
            self.services.table.phantoms)
        text.counter(
            "flowhub_store_errors_total", "Failed store operations.", self.services.health.storeFailures)
        let usage = self.backgroundTasks.highestUsage
        text.labelled(
            "flowhub_account_usage_max", "Highest usage of any account, as of the last pruning, by resource.", type: "gauge",
            label: "resource", AccountResource.allCases.map { ($0.rawValue, usage[$0]) })
        let revocations = self.backgroundTasks.revocations.status
        text.gauge("flowhub_revocations", "Revocations of tokens that this instance knows.", revocations.count)
        text.counter(
            "flowhub_revocation_read_failures_total", "Failed reads of the revocations from the store.", revocations.failures)
        let delivery = self.services.health.delivery
        text.labelled(
            "flowhub_delivery_status", "1 for the current delivery status, 0 for the others.", type: "gauge", label: "status",
            [DeliveryStatus.ok, .degraded, .storeAway].map { ($0.rawValue, $0 == delivery ? 1 : 0) })
        text.write(self.budgets, ordinaryConnections: ordinaryConnections)
        text.gauge(
            "flowhub_failed_reloads", "Files whose new content is invalid, so that the previous content stays in use.",
            self.services.health.failedReloads.count)
        text.write(self.bus.metrics ?? BusMetrics())
        text.labelled(
            "flowhub_limit_rejections_total", "Requests about locks and mapping patterns rejected because of a limit.",
            type: "counter", label: "limit", self.limitCounters.values)
        text.counter(
            "flowhub_pattern_evictions_total", "Mapping patterns evicted because their account reached a limit.",
            self.patterns.evictions)
        text.write(self.imports.metrics)
        text.writeImportCache(totals)
        text.write(self.imports.objectStoreMetrics)
        if let maintenance = self.backgroundTasks.maintenance { text.write(maintenance) }
        text.histogram("flowhub_delivery_lag_seconds", "Time from an event's commit to its fan-out.", [("", streams.lag)])
        text.histogram(
            "flowhub_http_request_seconds", "Duration of ordinary requests.",
            requests.histograms.sorted { ($0.key.route, $0.key.status) < ($1.key.route, $1.key.status) }.map { key, histogram in
                ("route=\"\(key.route)\",status=\"\(key.status)\"", histogram)
            })
        text.gauge(
            "flowhub_clock_offset_seconds",
            "Seconds by which the clock of this instance is ahead of the store's. Beyond 2, nothing is removed by age.",
            Double(self.clock.difference) / 1_000)
        text.counter(
            "flowhub_dropped_log_lines_total", "Log lines dropped because standard error was read too slowly.",
            self.droppedLogLines())
        text.series("flowhub_build_info", "1, with the version.", type: "gauge", [("version=\"\(self.version)\"", 1)])
        let process = ProcessStatistics.current()
        text.gauge("process_resident_memory_bytes", "Resident memory.", process.residentBytes)
        text.counter("process_cpu_seconds_total", "User and system CPU time.", process.cpuSeconds)
        text.gauge("process_open_fds", "Open file descriptors.", process.openFiles)
        text.gauge("process_max_fds", "Limit of open file descriptors.", process.maximumFiles)
        text.gauge("process_start_time_seconds", "Start time of the process, in Unix time.", process.startSeconds)
        return Response(
            status: .ok, headers: [.contentType: "text/plain; version=0.0.4", .cacheControl: "no-store"],
            body: .init(byteBuffer: ByteBuffer(string: text.text)))
    }
}
