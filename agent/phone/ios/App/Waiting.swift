// Work that can only be awaited, on a thread that has nothing else to do.

import Foundation
import JobKit

/// Waits on this thread, which is none of the pool's, for work that can only be awaited.
func waited<Value>(_ work: @escaping () async throws -> Value) throws -> Value {
    let done = DispatchSemaphore(value: 0)
    var result: Result<Value, Error>?
    // What waits is urgent: work of a lower class would be held up by everything else.
    Task.detached(priority: .userInitiated) {
        do {
            result = .success(try await work())
        } catch {
            result = .failure(error)
        }
        done.signal()
    }
    done.wait()
    guard let result else { throw LaunchFailure.refused("the work ended without a result") }
    return try result.get()
}
