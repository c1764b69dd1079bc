extension FlowID {
    /// The lane of the flow, out of `count` lanes: the same one as long as the process runs. Distributes flows evenly.
    package func lane(of count: Int) -> Int { Int(UInt(bitPattern: self.hashValue) % UInt(count)) }
}
