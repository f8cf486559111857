//! The smallest program that embeds chord: two nodes in one process, one key.

use chord::{Chord, Config};
use chord_transport_mem::Network;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Network::new(7);

    // The first node creates the ring, the second one joins it through the first.
    let alice = Chord::create(network.listen("alice"), Config::named("alice")).await?;
    let known = [alice.endpoint().clone()];
    let bob = Chord::join(network.listen("bob"), &known, Config::named("bob")).await?;

    // Any node answers for any key.
    alice.put("greeting", "hello, ring").await?;
    let value = bob.get("greeting").await?;
    println!("bob reads {:?}", value.as_deref().map(String::from_utf8_lossy));

    // A leaver hands over what it owns before it goes.
    alice.leave().await?;
    assert!(bob.contains("greeting").await?);
    println!("alice has left, bob still has it");
    Ok(())
}
