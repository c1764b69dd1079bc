// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0335-existential-any.md
    .enableUpcomingFeature("ExistentialAny"),
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0444-member-import-visibility.md
    .enableUpcomingFeature("MemberImportVisibility"),
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0409-access-level-on-imports.md
    .enableUpcomingFeature("InternalImportsByDefault"),
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0461-async-function-isolation.md
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]

let package = Package(
    name: "flowhub",
    products: [
        .executable(name: "flowhub", targets: ["flowhub"])
    ],
    // Exact versions: a build uses the versions that the tests ran with. The versions of their own dependencies are not pinned.
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio.git", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras.git", exact: "1.35.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl.git", exact: "2.37.6"),
        .package(url: "https://github.com/apple/swift-http-types.git", exact: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log.git", exact: "1.16.2"),
        .package(url: "https://github.com/apple/swift-collections.git", exact: "1.6.0"),
        .package(url: "https://github.com/apple/swift-argument-parser.git", exact: "1.8.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", exact: "2.13.0"),
        .package(url: "https://github.com/swift-server/async-http-client.git", exact: "1.37.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird.git", exact: "2.28.1", traits: []),
        .package(url: "https://github.com/vapor/jwt-kit.git", exact: "5.7.1"),
        .package(url: "https://github.com/apple/swift-crypto.git", exact: "4.5.2"),
        .package(url: "https://github.com/groue/GRDB.swift.git", exact: "7.10.0"),
    ],
    targets: [
        .target(
            name: "FlowCore",
            dependencies: [
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "DequeModule", package: "swift-collections"),
            ]
        ),
        .target(
            name: "FlowEmbedded",
            dependencies: [
                "FlowCore",
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Logging", package: "swift-log"),
            ]
        ),
        .systemLibrary(name: "CPostgres", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .target(
            name: "FlowPostgres",
            dependencies: [
                "FlowCore", "CPostgres",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Logging", package: "swift-log"),
            ],
            exclude: ["Migrations/SQL/README.md"],
            resources: [
                .embedInCode("Migrations/SQL/0001_flows.sql"), .embedInCode("Migrations/SQL/0002_imports.sql"),
                .embedInCode("Migrations/SQL/0003_import_samples.sql"),
                .embedInCode("Migrations/SQL/0004_import_ledger.sql"), .embedInCode("Migrations/SQL/0005_import_keys.sql"),
                .embedInCode("Migrations/SQL/0006_import_lists.sql"), .embedInCode("Migrations/SQL/0007_import_chores.sql"),
                .embedInCode("Migrations/SQL/0008_import_locations.sql"),
                .embedInCode("Migrations/SQL/0009_import_rows.sql"),
                .embedInCode("Migrations/SQL/0010_lock_accounts.sql"),
                .embedInCode("Migrations/SQL/0011_account_usage.sql"),
                .embedInCode("Migrations/SQL/0012_flow_deletions.sql"),
                .embedInCode("Migrations/SQL/0013_ended_versions.sql"),
                .embedInCode("Migrations/SQL/0014_import_encryption.sql"),
                .embedInCode("Migrations/SQL/0015_trigger_rights.sql"),
                .embedInCode("Migrations/SQL/0016_flow_ends.sql"),
                .embedInCode("Migrations/SQL/0017_failed_imports.sql"),
                .embedInCode("Migrations/SQL/0018_tasks.sql"),
            ]
        ),
        // Without pkgConfig: hiredis's names a flag that the package manager warns of.
        .systemLibrary(name: "CHiredis", providers: [.apt(["libhiredis-dev"])]),
        .target(
            name: "FlowRedis",
            dependencies: [
                "FlowCore", "CHiredis",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Logging", package: "swift-log"),
            ],
            resources: [
                .embedInCode("Scripts/put_state.lua"), .embedInCode("Scripts/put_latest_transient.lua"),
                .embedInCode("Scripts/register.lua"), .embedInCode("Scripts/heartbeat.lua"),
                .embedInCode("Scripts/unregister_instance.lua"), .embedInCode("Scripts/check_connections.lua"),
                .embedInCode("Scripts/sweep_instance.lua"), .embedInCode("Scripts/lock_acquire.lua"),
                .embedInCode("Scripts/lock_update.lua"), .embedInCode("Scripts/pattern_put.lua"),
                .embedInCode("Scripts/pattern_remove.lua"), .embedInCode("Scripts/lease.lua"),
                .embedInCode("Scripts/lease_release.lua"),
                .embedInCode("Scripts/canary.lua"),
                .embedInCode("Scripts/instances.lua"),
            ]
        ),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CDeflate", providers: [.apt(["libdeflate-dev"])]),
        .systemLibrary(name: "CMalloc"),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .target(
            name: "FlowObjects",
            dependencies: [
                "FlowCore", "CCurl", "COpenSSL", "CDeflate", "CZlib", "CMalloc",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
            ]
        ),
        .target(
            name: "FlowHTTP",
            dependencies: [
                "FlowCore",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "JWTKit", package: "jwt-kit"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            resources: [
                .embedInCode("Page/index.html"), .embedInCode("Page/page.css"), .embedInCode("Page/page.js"),
                .embedInCode("Page/favicon.svg"),
            ]
        ),
        .executableTarget(
            name: "flowhub",
            dependencies: [
                "FlowCore", "FlowEmbedded", "FlowHTTP", "FlowObjects", "FlowPostgres", "FlowRedis",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            // Full RELRO: the linker resolves all symbols at the start, and makes their table read-only.
            linkerSettings: [
                .unsafeFlags(
                    ["-Xlinker", "-z", "-Xlinker", "relro", "-Xlinker", "-z", "-Xlinker", "now"], .when(platforms: [.linux]))
            ]
        ),
        .target(
            name: "FlowTestKit",
            dependencies: [
                "FlowCore",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOHTTPCompression", package: "swift-nio-extras"),
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            path: "Tests/FlowTestKit"
        ),
        .testTarget(name: "FlowCoreTests", dependencies: ["FlowCore", "FlowTestKit"]),
        .testTarget(
            name: "FlowEmbeddedTests",
            dependencies: [
                "FlowCore", "FlowEmbedded", "FlowObjects", "FlowTestKit",
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
            ]
        ),
        .testTarget(
            name: "FlowPostgresTests",
            dependencies: [
                "FlowCore", "FlowPostgres", "FlowTestKit",
                .product(name: "Logging", package: "swift-log"),
            ]
        ),
        .testTarget(
            name: "FlowRedisTests",
            dependencies: [
                "FlowCore", "FlowRedis", "FlowEmbedded", "FlowTestKit",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ]
        ),
        .testTarget(
            name: "FlowObjectsTests",
            dependencies: [
                "FlowCore", "FlowObjects", "FlowTestKit",
                .product(name: "Logging", package: "swift-log"),
            ],
            resources: [.copy("Vectors")]
        ),
        .testTarget(
            name: "FlowHTTPTests",
            dependencies: [
                "FlowCore", "FlowHTTP",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "JWTKit", package: "jwt-kit"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "CryptoExtras", package: "swift-crypto"),
            ]
        ),
        .testTarget(
            name: "FlowHubCommandTests",
            dependencies: [
                "FlowCore", "FlowTestKit", "flowhub",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ]
        ),
        .testTarget(
            name: "SystemTests",
            dependencies: [
                "FlowCore", "FlowTestKit", "flowhub",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            exclude: ["Clients/readers", "Migration/legacy_service"]
        ),
    ]
)

for target in package.targets where target.type != .system {
    target.swiftSettings = strict
}
