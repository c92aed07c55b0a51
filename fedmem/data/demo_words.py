"""The words of the demo's films, by genre: from these their titles and plots are composed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GenreWords:
    """What titles and plots of one genre are made of; `eras` is the range of years most of its films come from."""

    adjectives: str
    nouns: str
    places: str
    patterns: tuple[str, ...]
    heroes: tuple[str, ...]
    deeds: tuple[str, ...]
    twists: tuple[str, ...]
    shades: tuple[str, ...]  # endings of a plot whose second genre this is
    companions: tuple[str, ...]
    eras: tuple[int, int]


WORDS: dict[str, GenreWords] = {
    "Adventure": GenreWords(
        adjectives="Lost,Hidden,Forgotten,Emerald,Sunken,Uncharted,Golden,Perilous,Northern,Scarlet,Ninth,Savage",
        nouns="Expedition,Island,Compass,River,Summit,Treasure,Voyage,Jungle,Harbour,Caravan,Reef,Lagoon",
        places="the Andes,Cape Meridian,the Coral Sea,Mount Kesari,the Yukon,Samarkand,the Skeleton Coast,Patagonia",
        patterns=("The {adj} {noun}", "The {noun} of {place}", "Voyage to {place}", "Race to {place}", "{adj} {noun}"),
        heroes=("A disgraced cartographer", "A retired sea captain", "A young mountaineer", "A stubborn botanist"),
        deeds=(
            "follows a dead sailor's diary to {place}",
            "leads the first crossing of {place}",
            "hunts for a wreck full of gold near {place}",
            "is stranded near {place} with a broken radio",
        ),
        twists=(
            "before the monsoon closes the pass",
            "with rival treasure hunters one day behind",
            "and learns why nobody ever came back",
            "on a raft built from the wreck",
        ),
        shades=("on a journey off the edge of the map", "and crosses half the world to do it"),
        companions=("Drama", "Fantasy", "Romance", "Western"),
        eras=(1950, 2024),
    ),
    "Animation": GenreWords(
        adjectives="Tiny,Brave,Flying,Purple,Bouncing,Sleepy,Marvellous,Singing,Curious,Runaway,Wobbly,Polka-Dot",
        nouns="Hedgehog,Teapot,Otter,Balloon,Kite,Duckling,Squirrel,Snowflake,Elephant,Toymaker,Firefly,Kitten",
        places="Cloudberry Hill,Bubble Bay,the Moonlight Zoo,Pumpkin Lane,Candy Town,Button Forest,Marzipan Mountain",
        patterns=(
            "The {adj} {noun}",
            "Pip and the {noun}",
            "Lulu and the {adj} {noun}",
            "A Day in {place}",
            "The {noun} of {place}",
        ),
        heroes=("A shy hedgehog", "A little girl with a paper crown", "A duckling afraid of water", "A talking teapot"),
        deeds=(
            "sets off to save the lanterns of {place}",
            "makes an unlikely friend in {place}",
            "must win the great kite race of {place}",
            "gets lost on the first day of winter in {place}",
        ),
        twists=(
            "and teaches the whole town to sing",
            "with the help of three clumsy mice",
            "before the moon goes out",
            "and finds out that small is not weak",
        ),
        shades=("with the help of three clumsy mice", "among animals that talk too much"),
        companions=("Comedy", "Fantasy", "Adventure"),
        eras=(1975, 2024),
    ),
    "Comedy": GenreWords(
        adjectives="Accidental,Reluctant,Clumsy,Wrong,Unlikely,Terrible,Hopeless,Part-Time,Fabulous,Imaginary,Other",
        nouns="Uncle,Landlord,Babysitter,Bachelor,Butler,Neighbour,Mayor,Penguin,Plumber,Roommate,Bridesmaid,Magician",
        places="Milwaukee,Boca Grande,Blunderville,Cleveland,the Suburbs,Camp Wobble,Poughkeepsie,Lower Piddle",
        patterns=(
            "The {adj} {noun}",
            "My {adj} {noun}",
            "Who Invited the {noun}?",
            "How to Hide a {noun}",
            "Two Weeks in {place}",
            "Trouble in {place}",
        ),
        heroes=("A failed magician", "An overworked wedding planner", "A butler who cannot lie", "A pompous mayor"),
        deeds=(
            "is mistaken for the new headmaster in {place}",
            "has to share one bathroom with nine relatives in {place}",
            "bets the family bakery on a penguin race in {place}",
            "fakes a royal visit to {place}",
        ),
        twists=(
            "and every lie needs a bigger one",
            "while the cake is already on fire",
            "with the in-laws arriving at noon",
            "and nobody dares to tell grandmother",
        ),
        shades=("with disastrously funny results", "and gets absolutely everything wrong"),
        companions=("Romance", "Crime", "Animation", "Drama"),
        eras=(1955, 2024),
    ),
    "Crime": GenreWords(
        adjectives="Crooked,Cold,Perfect,Double,Silent,Dirty,Marked,Fifth,Velvet,Bulletproof,Rigged,Unsolved",
        nouns="Heist,Alibi,Detective,Getaway,Informant,Witness,Verdict,Syndicate,Safecracker,Ransom,Racket,Case",
        places="Pier Nine,Mulberry Street,Palermo,Marseille,South Chicago,Canal Street,Union Station,Naples,Harlem",
        patterns=("The {adj} {noun}", "The {place} {noun}", "The {place} Job", "{adj} {noun}", "Murder near {place}"),
        heroes=(
            "A burnt-out detective",
            "A paroled safecracker",
            "A rookie prosecutor",
            "A getaway driver",
        ),
        deeds=(
            "takes one last job near {place}",
            "hunts the killer who works around {place}",
            "goes undercover with the gang that owns {place}",
            "finds a suitcase of stolen diamonds near {place}",
        ),
        twists=(
            "and every witness changes the story",
            "while a crooked captain buries the evidence",
            "until the partner turns out to be the informer",
            "with the mob and the police two blocks behind",
        ),
        shades=("with a stolen fortune at stake", "and has to solve a murder first"),
        companions=("Drama", "Horror", "Western", "Comedy"),
        eras=(1950, 2020),
    ),
    "Drama": GenreWords(
        adjectives="Last,Quiet,Late,Winter,Unfinished,Empty,Glass,Slow,Borrowed,Faded,Patient,Salted",
        nouns="Lighthouse,Orchard,Harvest,Daughter,Inheritance,Ferry,Schoolhouse,Piano,Kitchen,Goodbye,Autumn,Portrait",
        places="Maple Street,Kilbride,Harbour Road,Saint Malo,Dunmore,the Valley,Millbrook,Stillwater,Ellis Farm",
        patterns=(
            "The {adj} {noun}",
            "Leaving {place}",
            "Return to {place}",
            "Letters from {place}",
            "The {noun} of {place}",
        ),
        heroes=("A widowed lighthouse keeper", "A pianist losing her hearing", "A village teacher", "A farmer's son"),
        deeds=(
            "comes home to {place} for a funeral",
            "fights to keep the old school of {place} open",
            "inherits an orchard and its debts in {place}",
            "spends one last winter in {place}",
        ),
        twists=(
            "and makes peace with an estranged brother",
            "while the ferry stops running",
            "and opens letters that were never sent",
            "as the town slowly empties",
        ),
        shades=("and has to face an old family wound", "and finds out what a promise costs"),
        companions=("Romance", "Crime", "Adventure"),
        eras=(1950, 2024),
    ),
    "Fantasy": GenreWords(
        adjectives="Enchanted,Silver,Sleeping,Ashen,Eternal,Broken,Moonlit,Sapphire,Wandering,Thirteenth,Nameless",
        nouns="Dragon,Crown,Sorcerer,Kingdom,Sword,Unicorn,Witch,Prophecy,Throne,Griffin,Spell,Grimoire",
        places="Eldermoor,Avaloria,Thornwood,Mistvale,Dragonspire,Wyrmholt,the Elder Wood,Silverkeep,Ravengard",
        patterns=(
            "The {adj} {noun}",
            "The {noun} of {place}",
            "Heirs of {place}",
            "The Fall of {place}",
            "The Witch and the {noun}",
        ),
        heroes=("An orphaned squire", "A hedge witch", "An exiled princess", "A dragon keeper"),
        deeds=(
            "carries the last ember to {place}",
            "must break the curse that put {place} to sleep",
            "steals a speaking sword from the vaults of {place}",
            "wakes the dragon beneath {place}",
        ),
        twists=(
            "before the two moons meet",
            "and owes the fae a name in return",
            "while an army of shadows marches south",
            "and discovers that the prophecy was forged",
        ),
        shades=("guided by an old magic", "and wakes a spell best left asleep"),
        companions=("Adventure", "Animation", "Romance", "Horror"),
        eras=(1965, 2024),
    ),
    "Horror": GenreWords(
        adjectives="Whispering,Bleeding,Hollow,Buried,Pale,Midnight,Cursed,Rotting,Starving,Faceless,Weeping,Locked",
        nouns="House,Cellar,Doll,Mirror,Graveyard,Scarecrow,Attic,Asylum,Crypt,Nursery,Shadow,Coffin",
        places="Ravenmoor,Blackwood,Hollow Creek,Saint Agnes,Widow's Hill,Grimsby Lane,Ashdown,Coldwater,Harrow Hall",
        patterns=(
            "The {adj} {noun}",
            "The {noun} at {place}",
            "The Haunting of {place}",
            "Nobody Leaves {place}",
            "Don't Open the {noun}",
        ),
        heroes=("A night nurse", "A sceptical priest", "A family of four", "A sleepwalking student"),
        deeds=(
            "spends one night in the sealed wing of {place}",
            "hears children laugh beneath the floor of {place}",
            "moves into {place} without asking about the last tenants",
            "digs up something that was buried at {place}",
        ),
        twists=(
            "and the doors no longer open outward",
            "while the mirrors show someone else",
            "until the screaming stops at dawn",
            "and it has learned their names",
        ),
        shades=("while something in the dark is listening", "and does not come back alone"),
        companions=("Sci-Fi", "Crime", "Fantasy", "Drama"),
        eras=(1958, 2024),
    ),
    "Romance": GenreWords(
        adjectives="Secret,Unsent,Endless,Tender,First,Stolen,Second,Summer,Sunday,Rainy,Hopeful,Belated",
        nouns="Letter,Kiss,Waltz,Wedding,Valentine,Promise,Bouquet,Serenade,Sweetheart,Heartbeat,Proposal,Honeymoon",
        places="Lisbon,Verona,Paris,Vienna,Santorini,Havana,Seville,Montmartre,Lake Como,Dublin,Kyoto,Prague",
        patterns=(
            "The {adj} {noun}",
            "A {noun} in {place}",
            "Meet Me in {place}",
            "Love in {place}",
            "Before We Leave {place}",
        ),
        heroes=("A shy bookseller", "A concert violinist", "A jilted bride", "A letter carrier"),
        deeds=(
            "falls for a stranger on the night train to {place}",
            "meets a first love again in {place}",
            "writes love letters for someone else in {place}",
            "has one week in {place} to call off a wedding",
        ),
        twists=(
            "and loses the address",
            "while both are promised to others",
            "and dances until the last tram has gone",
            "although the summer is nearly over",
        ),
        shades=("and falls in love on the way", "and must choose between duty and love"),
        companions=("Comedy", "Drama", "Adventure"),
        eras=(1950, 2024),
    ),
    "Sci-Fi": GenreWords(
        adjectives="Frozen,Distant,Quantum,Drifting,Orbital,Synthetic,Binary,Infinite,Radiant,Electric,Final,Solar",
        nouns="Orbit,Signal,Colony,Starship,Android,Nebula,Satellite,Horizon,Machine,Planet,Galaxy,Airlock",
        places="Europa,Titan,Proxima,Kepler Nine,Deep Space,Andromeda,Callisto,Mars,the Outer Ring,Station Zero",
        patterns=(
            "The {adj} {noun}",
            "Signal from {place}",
            "Escape from {place}",
            "{adj} {noun}",
            "Beyond {place}",
            "The {noun} from {place}",
        ),
        heroes=(
            "A salvage pilot",
            "An android with borrowed memories",
            "A terraformer",
            "A deep-sleep medic",
        ),
        deeds=(
            "answers a distress call from {place}",
            "wakes alone aboard a ship bound for {place}",
            "decodes a message that reached us from {place}",
            "leads a mutiny on the mines of {place}",
        ),
        twists=(
            "forty years after it was sent",
            "while the oxygen counts down",
            "and meets a copy who arrived first",
            "before the star goes dark",
        ),
        shades=("with a machine from the future", "under the eyes of a visitor from the stars"),
        companions=("Horror", "Adventure", "Animation", "Drama"),
        eras=(1962, 2024),
    ),
    "Western": GenreWords(
        adjectives="Dusty,Lonesome,Seventh,Iron,Wanted,Restless,Silver-Spurred,Sunburnt,One-Eyed,Vanishing,Wild,Bitter",
        nouns="Saddle,Gunslinger,Canyon,Stagecoach,Sheriff,Posse,Mustang,Outlaw,Homestead,Trail,Bounty,Revolver",
        places="Red Mesa,Abilene,Dry Creek,El Paso,Silver Gulch,Santa Rosa,Cimarron,Laramie,Bitter Springs,Tomb Ridge",
        patterns=(
            "The {adj} {noun}",
            "Last Stage to {place}",
            "Showdown at {place}",
            "Sundown in {place}",
            "The {noun} from {place}",
        ),
        heroes=("A gunslinger with one bullet", "A homesteader's widow", "A sheriff near retirement", "A horse thief"),
        deeds=(
            "rides into {place} to settle an old debt",
            "escorts the payroll coach to {place}",
            "defends the only well of {place}",
            "tracks a bounty across the canyons of {place}",
        ),
        twists=(
            "before the noon train arrives",
            "with a posse and a dust storm on the trail",
            "and has to trust an outlaw",
            "while the railway buys up the land",
        ),
        shades=("in a land without law", "with a bounty hunter one day behind"),
        companions=("Adventure", "Drama", "Crime", "Comedy"),
        eras=(1950, 1992),
    ),
}
GENRES = tuple(WORDS)
