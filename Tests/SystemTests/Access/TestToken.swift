import FlowCore
import Foundation

/// A token that is created without the hub's JWT library, so that the library is not tested against itself.
struct TestToken {
    static let key = "a key of the tests, of 32 bytes or more"

    /// The secret that signs the token.
    var secret = Self.key
    var subject = "anna"
    var account = "7"
    var subscribe = ["*"]
    var publish = ["*"]
    var scopes: [String] = []
    /// `iat` and `exp` in seconds from now.
    var issuedIn = -1
    var expiresIn = 600
    /// `jti`: makes tokens with otherwise equal claims different.
    var id = Int.random(in: 0..<1_000_000_000)

    var text: String {
        let now = Int(Date().timeIntervalSince1970)
        let claims = JSONText.object { writer in
            writer.key("sub")
            writer.value(self.subject)
            writer.key("client_account_id")
            writer.value(self.account)
            writer.key("flows")
            writer.beginObject()
            writer.key("subscribe")
            writer.raw(Self.list(self.subscribe))
            writer.key("publish")
            writer.raw(Self.list(self.publish))
            writer.endObject()
            writer.key("scopes")
            writer.raw(Self.list(self.scopes))
            writer.key("iat")
            writer.value(now + self.issuedIn)
            writer.key("exp")
            writer.value(now + self.expiresIn)
            writer.key("jti")
            writer.value(self.id)
        }
        return Self.signed(claims.string, secret: self.secret)
    }

    /// A token with these claims, as JSON.
    static func signed(_ claims: String, secret: String = Self.key) -> String {
        let signed = Self.base64URL(Array(#"{"alg":"HS256","typ":"JWT"}"#.utf8)) + "." + Self.base64URL(Array(claims.utf8))
        return signed + "." + Self.base64URL(HMACSHA256.code(Array(signed.utf8), key: Array(secret.utf8)))
    }

    var header: (name: String, value: String) { ("Authorization", "Bearer \(self.text)") }

    private static func list(_ texts: [String]) -> JSONText { .array { for text in texts { $0.value(text) } } }

    private static func base64URL(_ bytes: [UInt8]) -> String {
        String(Data(bytes).base64EncodedString().compactMap { $0 == "=" ? nil : $0 == "+" ? "-" : $0 == "/" ? "_" : $0 })
    }
}

/// HMAC (RFC 2104) with SHA-256 (FIPS 180-4).
enum HMACSHA256 {
    static func code(_ message: [UInt8], key: [UInt8]) -> [UInt8] {
        var block = key.count > 64 ? Self.hash(key) : key
        block += Array(repeating: 0, count: 64 - block.count)
        return Self.hash(block.map { $0 ^ 0x5c } + Self.hash(block.map { $0 ^ 0x36 } + message))
    }

    /// The primes whose roots define the constants: the first 32 bits of the roots' fractions.
    private static let primes = (2...311).filter { number in !(2..<number).contains { number % $0 == 0 } }

    private static func fraction(_ root: Double, of prime: Int, _ power: Int) -> UInt32 {
        // A double has 53 bits, and the integer part uses at most five of them.
        var value = UInt64((root - root.rounded(.down)) * 4_294_967_296)
        // The last bit may be off by one. Decide it with integers: compare (i + value / 2^32)^power with the prime.
        let whole = UInt64(root.rounded(.down))
        func isBelow(_ candidate: UInt64) -> Bool {
            let scaled = whole << 32 | candidate
            let square = scaled.multipliedFullWidth(by: scaled)
            if power == 2 { return square.high < UInt64(prime) }
            let shifted = square.high << 32 | square.low >> 32
            return shifted.multipliedFullWidth(by: scaled).high < UInt64(prime)
        }
        if !isBelow(value) { value -= 1 }
        return UInt32(truncatingIfNeeded: value)
    }

    private static let constants = Self.primes.prefix(64).map { Self.fraction(cbrt(Double($0)), of: $0, 3) }
    private static let initial = Self.primes.prefix(8).map { Self.fraction(Double($0).squareRoot(), of: $0, 2) }

    static func hash(_ message: [UInt8]) -> [UInt8] {
        var padded = message + [0x80]
        while padded.count % 64 != 56 { padded.append(0) }
        padded += (0..<8).map { UInt8(truncatingIfNeeded: UInt64(message.count * 8) >> (56 - 8 * UInt64($0))) }
        var state = Self.initial
        for start in stride(from: 0, to: padded.count, by: 64) { Self.mix(padded[start..<start + 64], into: &state) }
        return state.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (24 - 8 * UInt32($0))) } }
    }

    private static func mix(_ block: ArraySlice<UInt8>, into state: inout [UInt32]) {
        func turned(_ word: UInt32, _ count: UInt32) -> UInt32 { word >> count | word << (32 - count) }
        let bytes = Array(block)
        var words = (0..<16).map { index in bytes[(4 * index)..<(4 * index + 4)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) } }
        for index in 16..<64 {
            let near = words[index - 15]
            let far = words[index - 2]
            let first = turned(near, 7) ^ turned(near, 18) ^ near >> 3
            let second = turned(far, 17) ^ turned(far, 19) ^ far >> 10
            words.append(words[index - 16] &+ first &+ words[index - 7] &+ second)
        }
        var mixed = state
        for index in 0..<64 {
            let (a, e) = (mixed[0], mixed[4])
            let choice = (e & mixed[5]) ^ (~e & mixed[6])
            let upper = turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)
            let one = mixed[7] &+ upper &+ choice &+ Self.constants[index] &+ words[index]
            let majority = (a & mixed[1]) ^ (a & mixed[2]) ^ (mixed[1] & mixed[2])
            let lower = turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)
            let two = lower &+ majority
            mixed = [one &+ two, a, mixed[1], mixed[2], mixed[3] &+ one, e, mixed[5], mixed[6]]
        }
        for index in 0..<8 { state[index] &+= mixed[index] }
    }
}
