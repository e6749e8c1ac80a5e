//! Whether a router accepts an advert by its source and destination addresses.

/// The verdict on the addresses of an advert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The router accepts adverts with these addresses.
    Accepted {
        /// The minimum TTL or hop limit for this peer; `None`: that of [`Expect`](super::Expect).
        min_ttl: Option<u8>,
    },
    /// The destination is not this router's, so the advert is for another one.
    Elsewhere,
    /// The destination is a multicast group, and the router has peers.
    Multicast,
    /// The source is not one of the router's peers.
    Stranger,
}

impl Delivery {
    /// For a router without peers; `is_its_group`: the destination is its multicast group.
    #[inline(always)]
    pub const fn to_group(is_its_group: bool) -> Self {
        if is_its_group { Self::Accepted { min_ttl: None } } else { Self::Elsewhere }
    }

    /// For a router with peers. `is_to_group`: the destination is VRRP's group; `is_to_us`: it is the router's own source
    /// address.
    #[inline(always)]
    pub const fn to_peer(is_to_group: bool, is_to_us: bool, sender: AddressUse) -> Self {
        if is_to_group {
            return Self::Multicast;
        }
        if !is_to_us {
            return Self::Elsewhere;
        }
        match sender.min_ttl() {
            Some(min_ttl) => Self::Accepted { min_ttl: Some(min_ttl) },
            None => Self::Stranger,
        }
    }
}

/// The use of an address by a virtual router. 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "bytemuck", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(transparent)]
pub struct AddressUse(u32);

impl AddressUse {
    const VIRTUAL: u32 = 1 << 8;
    const PEER: u32 = 1 << 9;
    const MIN_TTL: u32 = 0xff;

    /// From a value of the map.
    #[inline(always)]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// `is_virtual`: it is a virtual address of the router. `min_ttl`: it is a peer, with this minimum TTL or hop
    /// limit. It can be both: a peer that owns a virtual address sends from it.
    pub const fn new(is_virtual: bool, min_ttl: Option<u8>) -> Self {
        let peer = match min_ttl {
            Some(min_ttl) => Self::PEER | min_ttl as u32,
            None => 0,
        };
        Self(if is_virtual { peer | Self::VIRTUAL } else { peer })
    }

    /// The value for the map.
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// Whether it is one of its virtual addresses.
    #[inline(always)]
    pub const fn is_virtual(self) -> bool {
        self.0 & Self::VIRTUAL != 0
    }

    /// The minimum TTL or hop limit, if it is a peer.
    #[inline(always)]
    pub const fn min_ttl(self) -> Option<u8> {
        if self.0 & Self::PEER != 0 { Some((self.0 & Self::MIN_TTL) as u8) } else { None }
    }
}
