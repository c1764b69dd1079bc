import FlowCore
import FlowTestKit
import Foundation
import Testing

/// The alerts and the dashboard of `deploy`, against the metrics of a hub.
@Suite(.redis()) struct MonitoringTests {
    private static let alerts = Repository.path("deploy/prometheus/alerts.yaml")
    private static let alertTests = Repository.path("deploy/prometheus/alerts.test.yaml")

    private static func promtool(_ arguments: String) async throws -> (exit: ChildProcess.Exit, output: String) {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let process = try ChildProcess(
            "/bin/bash", ["-c", "exec \(try TestTools.program("promtool")) \(arguments)"], environment: [:], folder: folder.path)
        let exit = try await process.waitForExit(within: .seconds(60))
        return (exit, process.output + process.errorOutput)
    }

    @Test func alertsFireWhenTheyShould() async throws {
        let checked = try await Self.promtool("check rules \(Self.alerts)")
        #expect(checked.exit == .code(0), "\(checked.output)")
        let tested = try await Self.promtool("test rules \(Self.alertTests)")
        #expect(tested.exit == .code(0), "\(tested.output)")
        let cases = try Repository.text("deploy/prometheus/alerts.test.yaml")
        let names = try Repository.text("deploy/prometheus/alerts.yaml").split(separator: "\n").compactMap { line in
            line.split(separator: "alert: ").count == 2 ? line.split(separator: "alert: ").last : nil
        }
        try #require(names.count > 10)
        for name in names { #expect(cases.contains("alertname=\"\(name)\""), "\(name) has no test") }
    }

    /// Each metric, label and label value of a query exists in `/metrics`, and Prometheus can parse each query.
    @Test func queriesMatchMetrics() async throws {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        // With Redis, so that its metrics have all their labels.
        try await HubProcess.running(["REDIS_URL": SharedRedis.server.url]) { hub in
            #expect(try await hub.api.put("f", .emptyObject).isAcknowledged)
            let metrics = try await hub.api.call("GET", "/metrics").text
            try metrics.write(toFile: folder.path + "/metrics", atomically: true, encoding: .utf8)
        }
        let lint = try await Self.promtool("check metrics < \(folder.path)/metrics")
        #expect(lint.exit == .code(0) && lint.output.isEmpty, "\(lint.output)")
        let problems = try await TestTools.python(
            Self.comparison,
            [
                folder.path + "/metrics", Self.alerts, Repository.path("deploy/grafana/dashboard.json"),
                folder.path + "/rules.yaml",
            ])
        #expect(problems.isEmpty, "\(problems)")
        let parsed = try await Self.promtool("check rules \(folder.path)/rules.yaml")
        #expect(parsed.exit == .code(0), "\(parsed.output)")
    }

    /// Prints the differences between queries and metrics, and writes the queries of the dashboard as rules.
    private static let comparison = #"""
        import json, re, sys, yaml
        series = {}
        for line in open(sys.argv[1]).read().splitlines():
            match = re.match(r'(\w+)(?:\{(.*)\})? ', line)
            if match: series.setdefault(match[1], []).append(dict(re.findall(r'(\w+)="([^"]*)"', match[2] or '')))
        queries = [(rule["alert"], rule["expr"]) for group in yaml.safe_load(open(sys.argv[2]))["groups"] for rule in group["rules"]]
        alerts = len(queries)
        def walk(panels):
            for panel in panels:
                queries.extend((panel["title"], target["expr"]) for target in panel.get("targets", []))
                walk(panel.get("panels", []))
        walk(json.load(open(sys.argv[3]))["panels"])
        for where, query in queries:
            names = re.findall(r'\b((?:flowhub|process)_\w+)(\{[^}]*\})?', query)
            for name, selector in names:
                if name not in series: print(f"{where}: no metric {name}")
                for label, operator, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', selector):
                    values = {labels[label] for labels in series.get(name, []) if label in labels}
                    if label in ("job", "instance"): continue
                    if not values: print(f"{where}: {name} has no label {label}")
                    if label not in ("route", "status") or "http" not in name:
                        for wanted in value.split("|"):
                            if wanted not in values: print(f"{where}: {name} has no {label} {wanted}")
            known = {label for name, _ in names for labels in series.get(name, []) for label in labels} | {"instance", "le"}
            for group in re.findall(r'by \(([^)]*)\)', query):
                for label in group.split(","):
                    if label.strip() not in known: print(f"{where}: no label {label}")
        if alerts < 10 or len(queries) < alerts + 20: print("queries are missing")
        rules = [{"record": f"query:{index}", "expr": re.sub(r"\$(job|instance)", ".*", query.replace("$__rate_interval", "5m"))}
            for index, (_, query) in enumerate(queries)]
        json.dump({"groups": [{"name": "queries", "rules": rules}]}, open(sys.argv[4], "w"))
        """#
}
