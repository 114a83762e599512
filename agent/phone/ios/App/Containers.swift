// Where the app's files lie.

import Foundation

struct Containers {
    let documents: URL
    let caches: URL
    /// Compiled models are kept here, each below the digest of its model: the system finds what it
    /// has specialised for a compiled model again by that model's path.
    let compiled: URL
    let appVersion: String

    init() {
        let manager = FileManager.default
        documents = manager.urls(for: .documentDirectory, in: .userDomainMask)[0]
        caches = manager.urls(for: .cachesDirectory, in: .userDomainMask)[0]
        compiled = manager.urls(for: .applicationSupportDirectory, in: .userDomainMask)[0]
            .appendingPathComponent("compiled")
        let version = Bundle.main.object(forInfoDictionaryKey: "CFBundleShortVersionString")
        appVersion = version as? String ?? "unknown"
    }
}
