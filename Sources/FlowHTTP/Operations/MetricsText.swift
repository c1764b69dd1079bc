import FlowCore

/// A builder of text in the Prometheus exposition format, version 0.0.4.
struct MetricsText {
    private(set) var text = ""

    /// Writes a gauge without labels.
    mutating func gauge(_ name: String, _ help: String, _ value: some Numeric) {
        self.head(name, help, "gauge")
        self.text += "\(name) \(value)\n"
    }

    /// Writes a counter without labels.
    mutating func counter(_ name: String, _ help: String, _ value: some Numeric) {
        self.head(name, help, "counter")
        self.text += "\(name) \(value)\n"
    }

    /// Writes a metric with one label.
    /// - Parameter values: each value of the label with the metric's value for it. The label's values must be a fixed set.
    mutating func labelled(_ name: String, _ help: String, type: String, label: String, _ values: [(String, some Numeric)]) {
        self.head(name, help, type)
        for (value, count) in values { self.text += "\(name){\(label)=\"\(value)\"} \(count)\n" }
    }

    /// Writes a metric with several labels.
    /// - Parameter values: for each set of labels, the text between the braces and the metric's value.
    mutating func series(_ name: String, _ help: String, type: String, _ values: [(labels: String, value: Int)]) {
        self.head(name, help, type)
        for (labels, value) in values { self.text += "\(name){\(labels)} \(value)\n" }
    }

    /// Writes a histogram.
    /// - Parameter series: for each set of labels, the text between the braces (empty without labels) and the histogram.
    mutating func histogram(_ name: String, _ help: String, _ series: [(labels: String, Histogram)]) {
        self.head(name, help, "histogram")
        for (labels, histogram) in series {
            let separator = labels.isEmpty ? "" : ","
            var running = 0
            for (index, count) in histogram.counts.enumerated() {
                running += count
                let bound = index < histogram.bounds.count ? "\(histogram.bounds[index])" : "+Inf"
                self.text += "\(name)_bucket{\(labels)\(separator)le=\"\(bound)\"} \(running)\n"
            }
            let braces = labels.isEmpty ? "" : "{\(labels)}"
            self.text += "\(name)_sum\(braces) \(histogram.sum)\n\(name)_count\(braces) \(running)\n"
        }
    }

    /// Writes the lines `# HELP` and `# TYPE` of a metric.
    private mutating func head(_ name: String, _ help: String, _ type: String) {
        self.text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
    }
}

extension MetricsText {
    /// Writes the metrics of the bus.
    mutating func write(_ bus: BusMetrics) {
        self.gauge(
            "flowhub_bus_lag_seconds", "Time from publication to arrival of the last canary; 0 without Redis.",
            bus.lagSeconds ?? 0)
        self.counter("flowhub_bus_messages_total", "Messages received from the bus.", bus.received)
        self.counter(
            "flowhub_bus_foreign_total", "Valid messages received from the bus that no hub instance published.", bus.foreign)
        self.labelled(
            "flowhub_foreign_undelivered_total", "Foreign messages neither delivered nor applied, by reason.", type: "counter",
            label: "reason", bus.foreignUndelivered.map { ($0.reason, $0.count) })
        self.counter("flowhub_foreign_applied_total", "Foreign updates applied by this instance.", bus.foreignApplied)
        self.gauge("flowhub_foreign_pending", "Foreign updates that wait to be applied by this instance.", bus.foreignPending)
        self.gauge(
            "flowhub_foreign_leader", "1 if this instance is the one that applies foreign updates, else 0.",
            bus.appliesForeign ? 1 : 0)
        self.labelled(
            "flowhub_bus_refused_total", "Bus messages dropped, by reason.", type: "counter", label: "reason",
            bus.rejected.map { ($0.reason, $0.count) })
        self.counter(
            "flowhub_bus_replaced_total", "Subscriber connections to Redis replaced after missing canaries.",
            bus.replacedConnections)
        self.labelled(
            "flowhub_redis_commands_total", "Commands sent to Redis, by command.", type: "counter", label: "command",
            bus.commands.map { ($0.command, $0.count) })
    }
}

extension MetricsText {
    /// Writes the metrics of connections and of the memory of their requests.
    mutating func write(_ budgets: ConnectionBudgets, ordinaryConnections: Int) {
        self.gauge("flowhub_ordinary_connections", "Connections without an event stream.", ordinaryConnections)
        self.counter(
            "flowhub_evicted_connections_total", "Idle connections closed to make room for others.", budgets.evictedConnections)
        self.counter(
            "flowhub_refused_connections_total", "Connections and requests rejected by a limit of connections.",
            budgets.refusedConnections)
        self.counter("flowhub_accept_errors_total", "Failed attempts to accept a connection.", budgets.failedAccepts)
        self.gauge("flowhub_request_body_bytes", "Bytes of request bodies in memory.", budgets.bodies.bytes)
        self.gauge("flowhub_pipelined_bytes", "Bytes of pipelined requests that wait.", budgets.pipelinedBytes)
        self.gauge("flowhub_response_bytes", "Bytes of ordinary responses that clients have not read.", budgets.responses.bytes)
        self.series(
            "flowhub_over_budget_total", "Requests rejected and connections closed because of a limit of bytes.", type: "counter",
            [
                ("bytes=\"request_body\",limit=\"account\"", budgets.bodies.excesses.account),
                ("bytes=\"request_body\",limit=\"total\"", budgets.bodies.excesses.total),
                ("bytes=\"response\",limit=\"account\"", budgets.responses.excesses.account),
                ("bytes=\"response\",limit=\"total\"", budgets.responses.excesses.total),
                ("bytes=\"pipelined\",limit=\"total\"", budgets.droppedPipelines),
            ])
    }

    /// Writes the metrics of imports.
    mutating func write(_ imports: ImportMetrics) {
        self.labelled(
            "flowhub_imports_total", "Imports by result; swept: interrupted, later marked as failed or deleted.",
            type: "counter",
            label: "result", [("stored", imports.stored), ("failed", imports.failed), ("swept", imports.swept)])
        self.labelled(
            "flowhub_stored_imports_total", "Imports stored by this instance, by storage: object or rows.", type: "counter",
            label: "storage", [("object", imports.storedAsObjects), ("rows", imports.stored - imports.storedAsObjects)])
        self.counter("flowhub_imports_encrypted_total", "Imports that this instance stored encrypted.", imports.encrypted)
        self.counter("flowhub_import_records_total", "Records of imports stored by this instance.", imports.records)
        self.counter("flowhub_import_bytes_total", "Uncompressed bytes of imports stored by this instance.", imports.bytes)
    }

    /// Writes the cache hits and misses of import samples and schema analyses.
    /// - Parameter totals: the counters since the start of the UTC day.
    mutating func writeImportCache(_ totals: [Counter: Int]) {
        self.series(
            "flowhub_import_cache_total", "Import samples and schema analyses read, by cache result.", type: "counter",
            [
                ("cache=\"sample\",result=\"hit\"", totals[.cacheImportSampleHit] ?? 0),
                ("cache=\"sample\",result=\"miss\"", totals[.cacheImportSampleMiss] ?? 0),
                ("cache=\"analysis\",result=\"hit\"", totals[.cacheSchemaAnalysisHit] ?? 0),
                ("cache=\"analysis\",result=\"miss\"", totals[.cacheSchemaAnalysisMiss] ?? 0),
            ])
    }

    /// Writes the metrics of the object store.
    mutating func write(_ objects: ObjectStoreMetrics) {
        self.gauge(
            "flowhub_object_store_failing", "1 if the store failed the last object store operation, else 0.",
            objects.isFailing ? 1 : 0)
        let operations = ObjectStoreMetrics.Operation.allCases
        self.series(
            "flowhub_object_operations_total", "Object store operations, by operation and result.", type: "counter",
            operations.flatMap { operation in
                [("success", objects[operation].successes), ("failure", objects[operation].failures)].map { result, count in
                    ("operation=\"\(operation)\",result=\"\(result)\"", count)
                }
            })
        self.labelled(
            "flowhub_object_bytes_total", "Bytes sent to and received from the object store.", type: "counter",
            label: "operation", operations.map { ("\($0)", objects[$0].bytes) })
        self.labelled(
            "flowhub_object_seconds_total", "Duration of object store operations, including whole uploads and downloads.",
            type: "counter", label: "operation", operations.map { ("\($0)", Double(objects[$0].milliseconds) / 1_000) })
    }
}

extension MetricsText {
    /// Writes the metrics of the scheduled tasks. Those of a last run are the same on all instances. The label is not `job`, which
    /// Prometheus sets itself.
    mutating func write(_ maintenance: Maintenance) {
        let statuses = maintenance.statuses
        func values<Value: Numeric>(_ value: (TaskScheduler.Status) -> Value) -> [(String, Value)] {
            statuses.map { ($0.name.rawValue, value($0)) }
        }
        self.labelled(
            "flowhub_task_interval_seconds", "Interval of the scheduled task; 0: it does not run.", type: "gauge", label: "task",
            values { $0.interval })
        self.labelled(
            "flowhub_task_last_end_timestamp_seconds",
            "End of the task's last run on any instance, in Unix time; the start of this instance if none has ended.",
            type: "gauge",
            label: "task", values { Double($0.endedAt.milliseconds) / 1_000 })
        self.labelled(
            "flowhub_task_duration_seconds", "Duration of the task's last run that ended.", type: "gauge", label: "task",
            values { Double($0.result.milliseconds) / 1_000 })
        self.labelled(
            "flowhub_task_problems", "Problems that the task's last run found, such as damaged imports.", type: "gauge",
            label: "task", values { $0.result.problems })
        self.labelled(
            "flowhub_task_failed", "1 if the task's last run did not reach its end, else 0.", type: "gauge", label: "task",
            values { $0.result.failure == nil ? 0 : 1 })
        self.labelled(
            "flowhub_task_running", "1 while an instance runs the task, else 0.", type: "gauge", label: "task",
            values { $0.isRunning ? 1 : 0 })
        let metrics = maintenance.metrics
        self.labelled(
            "flowhub_retention_deletions_total", "Finished flows and failed imports deleted because of their age.",
            type: "counter", label: "kind", [("flow", metrics.flows), ("failed_import", metrics.failedImports)])
        self.labelled(
            "flowhub_import_sweep_removals_total", "Orphaned objects and unfinished uploads removed by scheduled import sweeps.",
            type: "counter", label: "kind", [("object", metrics.objects), ("upload", metrics.uploads)])
        self.counter(
            "flowhub_verified_imports_total", "Imports read by scheduled verifications.", metrics.verifiedImports)
    }
}
