import Foundation

/// The S3 operation that a request performs.
public enum ProxyOperation: String, Hashable, Sendable, CaseIterable {
    case createBucket, deleteBucket, headBucket, listObjects, listUploads, getLifecycle, putLifecycle, deleteLifecycle
    case headObject, getObject, putObject, deleteObject, copyObject
    case createUpload, uploadPart, copyPart, completeUpload, abortUpload, listParts
    case deleteObjects, other

    init(method: String, target: R2Target, isCopy: Bool) {
        let parameters = Set(target.query.keys)
        if target.key == nil {
            self =
                switch method {
                case _ where parameters.contains("lifecycle"):
                    ["GET": .getLifecycle, "PUT": .putLifecycle, "DELETE": .deleteLifecycle][method] ?? .other
                case "GET": parameters.contains("uploads") ? .listUploads : .listObjects
                case "PUT": .createBucket
                case "DELETE": .deleteBucket
                case "HEAD": .headBucket
                case "POST": parameters.contains("delete") ? .deleteObjects : .other
                default: .other
                }
        } else {
            let isUpload = parameters.contains("uploadId")
            self =
                switch method {
                case "GET": isUpload ? .listParts : .getObject
                case "HEAD": .headObject
                case "PUT" where isUpload: isCopy ? .copyPart : .uploadPart
                case "PUT": isCopy ? .copyObject : .putObject
                case "DELETE": isUpload ? .abortUpload : .deleteObject
                case "POST": isUpload ? .completeUpload : parameters.contains("uploads") ? .createUpload : .other
                default: .other
                }
        }
    }

    /// Whether R2 counts the operation against its limit of one write per second and key.
    var isWriteToKey: Bool {
        switch self {
        case .putObject, .copyObject, .completeUpload, .deleteObject: true
        default: false
        }
    }
}

/// The parsed target of a request.
struct R2Target: Sendable {
    let path: String
    let rawQuery: String
    let bucket: String
    let key: String?
    let query: [String: String]

    init(_ uri: String) {
        let halves = uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        self.path = String(halves[0])
        self.rawQuery = halves.count > 1 ? String(halves[1]) : ""
        let names = self.path.dropFirst().split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        self.bucket = names.first.map(String.init) ?? ""
        self.key = names.count > 1 && !names[1].isEmpty ? names[1].removingPercentEncoding ?? String(names[1]) : nil
        self.query = self.rawQuery.split(separator: "&").reduce(into: [:]) { query, parameter in
            let parts = parameter.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            query[String(parts[0])] = parts.count > 1 ? parts[1].removingPercentEncoding ?? "" : ""
        }
    }
}
