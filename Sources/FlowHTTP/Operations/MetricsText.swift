import FlowCore

/// Text of the Prometheus exposition format, version 0.0.4.
struct MetricsText {
    private(set) var text = ""

    mutating func gauge(_ name: String, _ help: String, _ value: some Numeric) {
        self.head(name, help, "gauge")
        self.text += "\(name) \(value)\n"
    }

    mutating func counter(_ name: String, _ help: String, _ value: some Numeric) {
        self.head(name, help, "counter")
        self.text += "\(name) \(value)\n"
    }

    /// - Parameter values: one sample for each value of the label, which comes from a fixed set.
    mutating func labelled(_ name: String, _ help: String, type: String, label: String, _ values: [(String, Int)]) {
        self.head(name, help, type)
        for (value, count) in values { self.text += "\(name){\(label)=\"\(value)\"} \(count)\n" }
    }

    /// - Parameter values: labels in braces without the braces.
    mutating func series(_ name: String, _ help: String, type: String, _ values: [(labels: String, value: Int)]) {
        self.head(name, help, type)
        for (labels, value) in values { self.text += "\(name){\(labels)} \(value)\n" }
    }

    /// - Parameter series: labels in braces without the braces, empty for none.
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

    private mutating func head(_ name: String, _ help: String, _ type: String) {
        self.text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
    }
}

extension MetricsText {
    mutating func write(_ bus: BusMetrics) {
        self.gauge(
            "flowhub_bus_lag_seconds", "From publication to arrival, of the last canary that came back; 0 without Redis.",
            bus.lagSeconds ?? 0)
        self.counter("flowhub_bus_messages_total", "Messages that came from the bus.", bus.received)
        self.counter("flowhub_bus_foreign_total", "Messages of services beside the hub.", bus.foreign)
        self.labelled(
            "flowhub_bus_refused_total", "Messages that were dropped.", type: "counter", label: "reason",
            bus.rejected.map { ($0.reason, $0.count) })
        self.counter(
            "flowhub_bus_replaced_total", "Connections to the bus that answered and delivered nothing.", bus.replacedConnections)
    }
}

extension MetricsText {
    mutating func write(_ imports: ImportMetrics) {
        self.labelled(
            "flowhub_imports_total", "Imports by what became of them; swept ones were left by a process that died.",
            type: "counter",
            label: "result", [("stored", imports.stored), ("failed", imports.failed), ("swept", imports.swept)])
        self.counter("flowhub_import_records_total", "Records of the imports stored here.", imports.records)
        self.counter("flowhub_import_bytes_total", "Unpacked bytes of the imports stored here.", imports.bytes)
    }

    /// - Parameter totals: of the day.
    mutating func writeImportCache(_ totals: [Counter: Int]) {
        self.series(
            "flowhub_import_cache_total", "Samples and analyses asked for, and whether they were at hand.", type: "counter",
            [
                ("cache=\"sample\",result=\"hit\"", totals[.cacheImportSampleHit] ?? 0),
                ("cache=\"sample\",result=\"miss\"", totals[.cacheImportSampleMiss] ?? 0),
                ("cache=\"analysis\",result=\"hit\"", totals[.cacheSchemaAnalysisHit] ?? 0),
                ("cache=\"analysis\",result=\"miss\"", totals[.cacheSchemaAnalysisMiss] ?? 0),
            ])
    }

    mutating func write(_ objects: ObjectStoreMetrics) {
        let operations = ObjectStoreMetrics.Operation.allCases
        self.series(
            "flowhub_object_operations_total", "What was asked of the object store.", type: "counter",
            operations.flatMap { operation in
                [("success", objects[operation].successes), ("failure", objects[operation].failures)].map { result, count in
                    ("operation=\"\(operation)\",result=\"\(result)\"", count)
                }
            })
        self.labelled(
            "flowhub_object_bytes_total", "Bytes that went to the object store or came from it.", type: "counter",
            label: "operation", operations.map { ("\($0)", objects[$0].bytes) })
        self.labelled(
            "flowhub_object_milliseconds_total", "Time that the object store took, whole uploads and downloads included.",
            type: "counter", label: "operation", operations.map { ("\($0)", Int(objects[$0].milliseconds)) })
    }
}
