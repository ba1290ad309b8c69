"""The names that surrogates are made of, written down for this purpose.

Common given and family names from many countries, towns, area codes of North America and the
domains that RFC 2606 keeps for examples. No entry is added, removed or moved: people have the
surrogates in their data, and one change would change nearly all of them.
"""

from __future__ import annotations

__all__ = ["AREAS", "DOMAINS", "FAMILY", "GIVEN", "PLACES"]

GIVEN = tuple(
    """
    Ada Adam Adele Agnes Ahmed Aisha Alan Albert Alexander Alice Alma Amal Amina Amy Ana Andrea
    Andrew Angela Anil Anita Anna Anton Antonia Arjun Arthur Asha Astrid August Aurora Barbara
    Beatrice Benjamin Bernard Bianca Bruno Camille Carl Carla Carlos Carmen Caroline Cecilia
    Chandra Charles Chen Chiara Chloe Claire Clara Colin Daniel Daria David Deborah Delia Dennis
    Diana Diego Dina Dominic Dora Edgar Edith Eduardo Edward Elena Eli Elias Elisa Elizabeth
    Ella Emil Emily Emma Enzo Erik Esther Eva Evelyn Fatima Felix Fiona Flora Frances Frank
    Frida George Gerald Giulia Gloria Grace Greta Gustav Hana Hannah Harold Harriet Hassan
    Hector Helen Henry Hugo Ida Igor Inga Ingrid Irene Iris Isaac Isabel Ivan Jack Jacob James
    Jana Jane Javier Joan Jonas Joseph Judith Julia Julian Karen Karim Katherine Keiko Kenji
    Klara Kofi Lars Laura Layla Leo Leon Lina Linda Lisa Louis Lucas Lucia Lydia Magnus Marco
    Margaret Maria Marina Mark Martha Martin Mateo Maya Mehmet Mei Michael Mila Miriam Mona
    Nadia Naomi Nathan Nina Noah Nora Olga Oliver Oscar Paul Pedro Petra Priya Rachel Rafael
    Rahul Ravi Rebecca Robert Rosa Ruth Samir Samuel Sandra Sara Simon Sofia Stella Susan Tara
    Teresa Thomas Ursula Vera Victor Viola Walter Wendy Yara Yusuf Zara Zoe
    """.split()
)
FAMILY = tuple(
    """
    Abbott Adams Aguilar Ahlberg Alvarez Andersson Archer Bailey Baker Banerjee Barker Barnes
    Bauer Becker Bell Bennett Berg Bianchi Bishop Blake Bowman Brandt Brennan Brooks Bryant
    Burke Burton Carlson Carter Castro Chandler Chang Chapman Chavez Clarke Cohen Coleman
    Collins Conti Cooper Costa Crawford Cruz Dalton Das Davies Dawson Delgado Desai Diaz Dixon
    Dubois Duncan Eklund Ellis Engel Esposito Evans Farrell Faulkner Ferrari Fischer Fisher
    Fleming Flores Foster Fournier Fowler Franco Fraser Fuentes Fujita Gallagher Garcia Gardner
    Garrett Gibson Goldberg Gomez Gordon Graham Grant Greene Griffin Gupta Haas Hale Hansen
    Harper Harris Hartmann Hassan Hayes Henderson Herrera Hoffman Holmes Horvat Howard Huang
    Hughes Hunt Ibrahim Ivanov Iyer Jacobs Jansen Jenkins Jensen Jimenez Johansson Kamara Kaplan
    Kaur Keller Kelly Khan Kim Klein Knight Kovac Kowalski Kumar Lambert Larsen Lawson Leblanc
    Lehmann Levine Lindgren Lopez Lorenz Lowe Lund Mancini Marino Marshall Martinez Mason Mehta
    Mendez Meyer Miller Mitchell Moore Morales Moreau Moretti Morgan Murray Nakamura Navarro
    Nelson Nguyen Nilsson Novak Obrien Okafor Olsen Ortega Osman Owens Palmer Park Parker Patel
    Pearson Pereira Petrov Phillips Popov Porter Quinn Ramos Rao Reid Reyes Ricci Rivera
    Robertson Romano Rossi Russell Ryan Sanders Santos Sato Schmidt Schneider Schwartz Shah
    Sharma Silva Simmons Sullivan Suzuki Takahashi Torres Vargas Watanabe
    """.split()
)
PLACES = tuple(
    """
    Aarhus Aberdeen Adelaide Albany Amersfoort Ancona Antwerp Arles Asheville Augsburg Austin
    Bari Basel Bath Bergen Bilbao Boise Bologna Boulder Braga Bremen Brest Bristol Brno Bruges
    Burgos Calgary Canberra Cardiff Charlotte Chester Coimbra Cologne Cork Dayton Delft Denver
    Derby Dijon Dresden Dubrovnik Dundee Durham Eindhoven Erfurt Eugene Exeter Ferrara Fresno
    Galway Gdansk Geelong Genoa Ghent Girona Gothenburg Graz Grenoble Groningen Halifax Hamilton
    Hobart Houston Innsbruck Ipswich Izmir Kanazawa Kassel Kiel Kobe Kyoto Lancaster Leeds
    Leipzig Lexington Lille Limerick Lincoln Lodz Lucca Lund Lyon Maastricht Madison Malmo
    Mannheim Memphis Metz Modena Montreal Nagoya Nantes Napier Nashville Newcastle Norwich
    Oakland Odense Omaha Osaka Ottawa Oulu Padua Palermo Perth Pisa Pittsburgh Plymouth Portland
    Porto Quebec Ravenna Regina Reims Rennes Richmond Rochester Rostock Rouen Salem Salzburg
    Seattle Segovia Sendai Siena Split Stuttgart Tampa Tartu Toledo Trento Trieste Trondheim
    Tucson Turin Turku Uppsala Utrecht Vaasa Verona Vigo Wellington Winnipeg Worcester York
    Zaragoza Zurich
    """.split()
)
AREAS = tuple(
    """
    201 202 203 205 206 207 208 209 210 212 213 214 215 216 217 218 219 224 225 228 229 231 234
    239 240 248 251 252 253 254 256 260 262 267 269 270 276 281 301 302 303 304 305 307 308 309
    310 312 313 314 315 316 317 318 319 320 321 323 325 330 334 336 337 339 347 351 352 360 361
    386 401 402 404 405 406 407 408 409 410 412 413 414 415 417 419 423 425 430 432 434 435 440
    443 469 470 478 479 480 484 501 502 503 504 505 507 508 509 510 512 513 515 516 517 518 520
    530 540 541 551 559 561 562 563 567 570 571 573 574 580 585 586 601 602 603 605 606 607 608
    609 610 612 614 615 616 617 618 619 620 623 626 630 631 636 641 646 650 651 660 661 662 678
    682 701 702 703 704 706 707
    """.split()
)
DOMAINS = ("example.com", "example.org", "example.net")
