//! What people call the models of authenticators and passkey providers (pure).
//!
//! For names on a page and nothing else: without attestation an AAGUID is what a browser or authenticator
//! says of itself, and proves nothing.
//!
//! Yubico's models were found, with the same meaning, in its own list (`yubi.co/aaguids`, as others have copied
//! it) and in an extract of FIDO's metadata; the rest stands in the community's list of passkey providers
//! (passkeydeveloper/passkey-authenticator-aaguids). What these contradict each other about is left out.

use uuid::{Uuid, uuid};

/// Each name with the AAGUIDs that stand for it: several generations of a model have one each.
#[rustfmt::skip]
const MODELS: &[(&str, &[Uuid])] = &[
    ("iCloud Keychain", &[
        uuid!("fbfc3007-154e-4ecc-8c0b-6e020557d7bd"),
        uuid!("dd4ec289-e01d-41c9-bb89-70fa845d4bf2"), // managed
    ]),
    ("Google Password Manager", &[uuid!("ea9b8d66-4d01-1d21-3ce4-b6b48cb575d4")]),
    ("Chrome on Mac", &[uuid!("adce0002-35bc-c60a-648b-0b25f1f05503")]),
    ("Windows Hello", &[
        uuid!("08987058-cadc-4b81-b6e1-30de50dcbe96"),
        uuid!("9ddd1817-af5a-4672-a2b9-3e3dd95000a9"),
        uuid!("6028b017-b1d4-4c02-b4b3-afcdafc96bb2"),
    ]),
    ("Samsung Pass", &[uuid!("53414d53-554e-4700-0000-000000000000")]),
    ("1Password", &[uuid!("bada5566-a7aa-401f-bd96-45619a55120d")]),
    ("Bitwarden", &[uuid!("d548826e-79b4-db40-a3d8-11116f7e8349")]),
    ("Dashlane", &[uuid!("531126d6-e717-415c-9320-3d9aa6981239")]),
    ("YubiKey 5", &[
        uuid!("cb69481e-8ff7-4039-93ec-0a2729a154a8"),
        uuid!("ee882879-721c-4913-9775-3dfcce97072a"),
        uuid!("19083c3d-8383-4b18-bc03-8f1c9ab2fd1b"),
        uuid!("ff4dac45-ede8-4ec2-aced-cf66103f4335"),
        uuid!("20ac7a17-c814-4833-93fe-539f0d5e3389"),
        uuid!("4599062e-6926-4fe7-9566-9e8fb1aedaa0"),
    ]),
    ("YubiKey 5 NFC", &[
        uuid!("fa2b99dc-9e39-4257-8f92-4a30d23c4118"),
        uuid!("2fc0579f-8113-47ea-b116-bb5a8db9202a"),
        uuid!("a25342c0-3cdc-4414-8e46-f4807fca511c"),
        uuid!("d7781e5d-e353-46aa-afe2-3ca49f13332a"),
        uuid!("1ac71f64-468d-4fe0-bef1-0e5f2f551f18"),
        uuid!("662ef48a-95e2-4aaa-a6c1-5b9c40375824"), // Enhanced PIN
    ]),
    ("YubiKey 5Ci", &[
        uuid!("c5ef55ff-ad9a-4b9f-b580-adebafe026d0"),
        uuid!("a02167b9-ae71-4ac7-9a07-06432ebb6f1c"),
        uuid!("24673149-6c86-42e7-98d9-433fb5b73296"),
        uuid!("b90e7dc1-316e-4fee-a25a-56a666a670fe"),
        uuid!("3b24bf49-1d45-4484-a917-13175df0867b"),
    ]),
    ("YubiKey 5 FIPS", &[
        uuid!("73bb0cd4-e502-49b8-9c6f-b59445bf720b"),
        uuid!("57f7de54-c807-4eab-b1c6-1c9be7984e92"),
        uuid!("905b4cb4-ed6f-4da9-92fc-45e0d4e9b5c7"),
    ]),
    ("YubiKey 5 NFC FIPS", &[
        uuid!("c1f9a0bc-1dd2-404a-b27f-8e29047a43fd"),
        uuid!("fcc0118f-cd45-435b-8da1-9782b2da0715"),
        uuid!("79f3c8ba-9e35-484b-8f47-53a5a0f5c630"),
    ]),
    ("YubiKey 5Ci FIPS", &[
        uuid!("85203421-48f9-4355-9bc8-8a53846e5083"),
        uuid!("7b96457d-e3cd-432b-9ceb-c9fdd7ef7432"),
        uuid!("3a662962-c6d4-4023-bebb-98ae92e78e20"),
    ]),
    ("YubiKey Bio", &[
        uuid!("d8522d9f-575b-4866-88a9-ba99fa02f35b"),
        uuid!("83c47309-aabb-4108-8470-8be838b573cb"),
        uuid!("dd86a2da-86a0-4cbe-b462-4bd31f57bc6f"),
        uuid!("7409272d-1ff9-4e10-9fc9-ac0019c124fd"),
        uuid!("8c39ee86-7f9a-4a95-9ba3-f6b097e5c2ee"),
        uuid!("ad08c78a-4e41-49b9-86a2-ac15b06899e2"),
        uuid!("7d1351a6-e097-4852-b8bf-c9ac5c9ce4a3"),
        uuid!("90636e1f-ef82-43bf-bdcf-5255f139d12f"),
        uuid!("34744913-4f57-4e6e-a527-e9ec3c4b94e6"),
        uuid!("97e6a830-c952-4740-95fc-7c78dc97ce47"),
        uuid!("6ec5cff2-a0f9-4169-945b-f33b563f7b99"),
    ]),
    ("Security Key by Yubico", &[
        uuid!("f8a011f3-8c0a-4d15-8006-17111f9edc7d"),
        uuid!("b92c3f9a-c014-4056-887f-140a2501163b"),
    ]),
    ("Security Key NFC by Yubico", &[
        uuid!("6d44ba9b-f6ec-2e49-b930-0c8fe920cb73"),
        uuid!("149a2021-8ef6-4133-96b8-81f8d5b7f1f5"),
        uuid!("a4e9fc6d-4cbe-4758-b8ba-37598bb5bbaa"),
        uuid!("e77e3c64-05e3-428b-8824-0cbeb04b829d"),
        uuid!("b7d3f68e-88a6-471e-9ecf-2df26d041ede"),
        uuid!("0bb43545-fd2c-4185-87dd-feb0b2916ace"), // Enterprise Edition
        uuid!("47ab2fb4-66ac-4184-9ae1-86be814012d5"),
        uuid!("ed042a3a-4b22-4455-bb69-a267b652ae7e"),
        uuid!("9ff4cc65-6154-4fff-ba09-9e2af7882ad2"),
        uuid!("72c6b72d-8512-4c66-8359-9d3d10d9222f"),
    ]),
];

/// What people call the model with this AAGUID; `None` for one that is not on the list, and for no model at
/// all (only zeros).
#[must_use]
pub fn model(aaguid: &[u8; 16]) -> Option<&'static str> {
    let is_it = |id: &Uuid| id.as_bytes() == aaguid;
    MODELS.iter().find(|(_, ids)| ids.iter().any(is_it)).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_every_aaguid_stands_once_and_none_is_nothing() {
        let mut names: Vec<&str> = MODELS.iter().map(|(name, _)| *name).collect();
        let mut ids: Vec<Uuid> = MODELS.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
        let (all_names, all_ids) = (names.len(), ids.len());
        names.sort_unstable();
        names.dedup();
        ids.sort_unstable();
        ids.dedup();

        assert_eq!((names.len(), ids.len()), (all_names, all_ids));
        assert!(!ids.contains(&Uuid::nil()));
    }

    #[test]
    fn a_model_is_known_by_its_bytes() {
        #[rustfmt::skip]
        let table = [
            ("fa2b99dc-9e39-4257-8f92-4a30d23c4118", Some("YubiKey 5 NFC")),
            ("9ddd1817-af5a-4672-a2b9-3e3dd95000a9", Some("Windows Hello")),
            ("9ddd1817-af5a-4672-a2b9-3e3dd95000a8", None),
            ("00000000-0000-0000-0000-000000000000", None),
        ];
        for (aaguid, name) in table {
            assert_eq!(model(aaguid.parse::<Uuid>().unwrap().as_bytes()), name, "{aaguid}");
        }
    }
}
