// swift-tools-version: 5.9
import PackageDescription

let package = Package(
    name: "JobKit",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [.library(name: "JobKit", targets: ["JobKit"])],
    dependencies: [.package(url: "https://github.com/apple/swift-crypto.git", from: "3.0.0")],
    targets: [
        .target(
            name: "JobKit", dependencies: [.product(name: "Crypto", package: "swift-crypto")]),
        .testTarget(name: "JobKitTests", dependencies: ["JobKit"]),
    ]
)
