//! Invented people of many languages, and where they live. Nobody here exists: cities are invented, telephone numbers
//! use the unassigned country code 999, and mail goes to the domains reserved for examples.

use super::chance::Chance;

/// Given names with what FHIR calls `administrative-gender`.
#[rustfmt::skip]
pub(super) const GIVEN: &[(&str, &str)] = &[
    ("Aarav", "male"), ("Achieng", "female"), ("Aigerim", "female"), ("Aino", "female"), ("Ali", "male"),
    ("Amélie", "female"), ("Andrzej", "male"), ("Anush", "female"), ("Arman", "male"), ("Ayşe", "female"),
    ("Benedikt", "male"), ("Björn", "male"), ("Bohdan", "male"), ("Camila", "female"), ("Chidi", "male"),
    ("Chloé", "female"), ("Daniyar", "male"), ("Đorđe", "male"), ("Elif", "female"), ("Emeka", "male"),
    ("Fatima", "female"), ("Farid", "male"), ("Frida", "female"), ("Giorgi", "male"), ("Grace", "female"),
    ("Hiroshi", "male"), ("Ines", "female"), ("Ioannis", "male"), ("Ivana", "female"), ("Jāzeps", "male"),
    ("João", "male"), ("Jiří", "male"), ("Kamala", "female"), ("Katarzyna", "female"), ("Kwame", "male"),
    ("Lê", "female"), ("Leila", "female"), ("Lívia", "female"), ("Łukasz", "male"), ("Madina", "female"),
    ("Malik", "male"), ("Mei", "female"), ("Mariam", "female"), ("Matteo", "male"), ("Nadia", "female"),
    ("Nino", "female"), ("Noor", "other"), ("Oleksandr", "male"), ("Olga", "female"), ("Pietro", "male"),
    ("Priya", "female"), ("Qiang", "male"), ("Rasmus", "male"), ("Ruslan", "male"), ("Saoirse", "female"),
    ("Şebnem", "female"), ("Søren", "male"), ("Tamar", "female"), ("Timur", "male"), ("Ulla", "female"),
    ("Vahan", "male"), ("Víctor", "male"), ("Wanjiru", "female"), ("Xóchitl", "female"), ("Yusuf", "male"),
    ("Zahra", "female"), ("Zoë", "female"), ("Анна", "female"), ("Тимофей", "male"), ("Ελένη", "female"),
    ("ليلى", "female"), ("नेहा", "female"), ("伟", "male"), ("さくら", "female"),
];

/// Family names.
#[rustfmt::skip]
pub(super) const FAMILY: &[&str] = &[
    "Abdrakhmanov", "Adeyemi", "Aliyeva", "Andersson", "Arslan", "Baptista", "Beridze", "Bjørnstad", "Çelik", "Chen",
    "Costa", "D’Angelo", "Dąbrowska", "de la Cruz", "Dvořák", "Eriksen", "Fernández", "Fofanah", "García Márquez",
    "Gruber", "Hakobyan", "Haddad", "Hovhannisyan", "Ibrahim", "Ivanova", "Jansen", "Jovanović", "Kapanadze",
    "Kaplan", "Khan", "Kim", "Kowalski", "Kuznetsov", "Laurent", "Lindgren", "López", "Mäkinen", "Mehta", "Mensah",
    "Mukherjee", "Müller", "Mwangi", "Nakamura", "Nguyễn", "Novák", "Nurlanova", "O'Brien", "Okafor", "Øvergård",
    "Papadopoulos", "Petrosyan", "Popescu", "Quispe", "Rahimi", "Ramírez", "Rossi", "Sakharova", "Šarić", "Schmidt",
    "Shevchenko", "Silva", "Sørensen", "Székely", "Tanaka", "Tsereteli", "Vaszary", "Vestergaard", "Weißmann",
    "Yılmaz", "Zhakupova", "Zieliński", "Смирнова", "Ковальчук", "Παπαδάκη", "الحسن", "शर्मा", "王", "佐藤",
];

const STREETS: &[&str] = &[
    "Harbour Street",
    "Mill Lane",
    "Rue des Tilleuls",
    "Lindenallee",
    "Çınar Sokak",
    "Seaview Road",
    "Abay Avenue",
    "Ulica Ogrodowa",
    "Market Square",
    "Old Bridge Road",
    "Rustaveli Avenue",
    "Orchard Way",
    "Station Road",
];

/// A city of the chain's country.
#[derive(Debug)]
pub(super) struct City {
    pub(super) name: &'static str,
    pub(super) region: &'static str,
    /// The first three digits of its postal codes.
    pub(super) postal: &'static str,
    /// Its time zone, one without daylight saving.
    pub(super) time_zone: &'static str,
    pub(super) offset_hours: i32,
}

/// Where the chain is.
pub(super) static CITIES: [City; 4] = [
    City { name: "Aldermere", region: "North Shore", postal: "101", time_zone: "Asia/Tbilisi", offset_hours: 4 },
    City { name: "Novoberezh", region: "North Shore", postal: "118", time_zone: "Asia/Tbilisi", offset_hours: 4 },
    City { name: "Çınarlı", region: "South Shore", postal: "240", time_zone: "Europe/Istanbul", offset_hours: 3 },
    City { name: "Saint-Élan", region: "Highlands", postal: "375", time_zone: "Asia/Tbilisi", offset_hours: 4 },
];

/// A given name, a family name and a gender.
pub(super) fn person(chance: &mut Chance) -> (&'static str, &'static str, &'static str) {
    let (given, gender) = *chance.pick(GIVEN);
    (given, *chance.pick(FAMILY), gender)
}

/// A street and a number.
pub(super) fn street(chance: &mut Chance) -> String {
    let flat = if chance.percent(60) { format!(", flat {}", chance.between(1, 120)) } else { String::new() };
    format!("{} {}{flat}", chance.between(1, 180), chance.pick(STREETS))
}

/// A telephone number that nobody has.
pub(super) fn phone(chance: &mut Chance) -> String {
    format!("+999 {} {} {}", chance.digits(2), chance.digits(3), chance.digits(4))
}

/// A mail address at a domain for examples, of the ASCII letters of the name.
pub(super) fn email(given: &str, family: &str, chance: &mut Chance) -> String {
    let letters = |name: &str| -> String {
        name.chars().filter(char::is_ascii_alphabetic).map(|letter| letter.to_ascii_lowercase()).collect()
    };
    let (given, family) = (letters(given), letters(family));
    let name = if given.is_empty() || family.is_empty() { "patient".to_owned() } else { format!("{given}.{family}") };
    format!("{name}{}@{}", chance.digits(3), chance.pick(&["example.org", "example.com", "example.net"]))
}
